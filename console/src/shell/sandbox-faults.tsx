/** The dialog that makes the sandbox provider fail, to see how service and console react. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { clearSandboxFaults, listSandboxFaults, orderSandboxFault, type FaultKind, type FaultRead } from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { phone as shownPhone } from "../format";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button, Field } from "../ui/parts";
import { fail, say } from "../ui/toasts";

function faultNames(): Record<FaultKind, string> {
  return {
    "429": t("Too many requests (429)"),
    "500_before": t("Error; the message was not accepted"),
    "500_after": t("Error, although the message was accepted"),
    reset_before: t("Connection lost before the message"),
    reset_after: t("Connection lost after the message"),
    hang: t("No answer; the message was not accepted"),
    hang_after: t("No answer, although the message was accepted"),
    slow: t("A late answer"),
    "202_without_id": t("Accepted, but without an id"),
    "401": t("The key is refused"),
    "402": t("No credit left"),
    "402_expired": t("The subscription has ended"),
    "403_cap": t("The provider's daily limit"),
    "403_not_user": t("The number belongs to another user"),
    "403_international": t("Not allowed abroad"),
    "404": t("The line does not exist"),
    "400": t("The message is refused"),
    "400_a2p": t("The company is not registered"),
    webhook_lost: t("A report is lost"),
    webhook_late: t("A report comes a minute late"),
    webhook_twice: t("A report comes twice"),
  };
}

export function SandboxFaults({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const names = faultNames();
  const [kind, setKind] = useState<FaultKind>("500_after");
  const [how, setHow] = useState<"count" | "percent">("count");
  const [amount, setAmount] = useState("1");
  const [phone, setPhone] = useState("");
  const faults = useQuery({ queryKey: ["sandbox-faults"], queryFn: () => data(listSandboxFaults({ query: { limit: 100 }, throwOnError: true })) });
  const refresh = () => void cache.invalidateQueries({ queryKey: ["sandbox-faults"] });
  const order = useMutation({
    mutationFn: () => data(orderSandboxFault({ body: { kind, [how]: Number(amount), ...(phone.trim() ? { phone } : {}) }, throwOnError: true })),
    onSuccess: () => say(t("The sandbox will fail.")),
    onError: (error) => !fieldError(error, "/phone") && !fieldError(error, `/${how}`) && fail(error),
    onSettled: refresh,
  });
  const clear = useMutation({ mutationFn: () => clearSandboxFaults({ throwOnError: true }), onSuccess: () => say(t("The sandbox works again.")), onError: fail, onSettled: refresh });
  const active = faults.data?.data ?? [];
  return (
    <Dialog title={t("Faults of the provider")} onClose={onClose} wide>
      <form className="form" onSubmit={(event) => (event.preventDefault(), order.mutate())}>
        <Field label={t("What goes wrong")}>
          {(a) => (
            <select {...a} value={kind} onChange={(event) => setKind(event.target.value as FaultKind)}>
              {(Object.keys(names) as FaultKind[]).sort().map((one) => <option key={one} value={one}>{names[one]}</option>)}
            </select>
          )}
        </Field>
        <div className="form-pair">
          <Field label={t("How often")}>
            {(a) => (
              <select {...a} value={how} onChange={(event) => setHow(event.target.value as "count")}>
                <option value="count">{t("So many times")}</option>
                <option value="percent">{t("Percent of the requests")}</option>
              </select>
            )}
          </Field>
          <Field label={how === "count" ? t("Times") : t("Percent")} error={fieldError(order.error, `/${how}`)}>{(a) => <input {...a} type="number" min="1" max={how === "percent" ? 100 : 1_000_000} required value={amount} onChange={(event) => setAmount(event.target.value)} />}</Field>
        </div>
        <Field label={t("Only for this number")} hint={t("Empty: for everybody.")} error={fieldError(order.error, "/phone")}>{(a) => <input {...a} type="tel" value={phone} onChange={(event) => setPhone(event.target.value)} />}</Field>
        <div className="form-end"><Button type="submit" kind="main" busy={order.isPending}>{t("Let it fail")}</Button></div>
      </form>
      {faults.isError && <p className="notice notice-bad" role="alert">{sentenceOf(faults.error)}</p>}
      {active.length > 0 && (
        <>
          <h3>{t("Still to come")}</h3>
          <ul className="aside-list">{active.map((one, at) => <li key={at}><span>{names[one.kind]}</span> <span className="faint">{often(one)}</span></li>)}</ul>
          <div><Button busy={clear.isPending} onClick={() => clear.mutate()}>{t("Remove all faults")}</Button></div>
        </>
      )}
    </Dialog>
  );
}

function often(one: FaultRead): string {
  const how = one.percent !== null ? t("{n} % of the requests", { n: one.percent }) : t("{n, plural, one {once} other {# times}}", { n: one.count ?? 1 });
  return one.phone ? `${how} · ${shownPhone(one.phone)}` : how;
}
