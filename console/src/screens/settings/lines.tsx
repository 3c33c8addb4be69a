/** The lines: how many messages each line may send today, its time zone, and why it is blocked. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { listLines, syncLines, unblockLine, updateLine, type LineRead, type LineUpdate } from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { count, phone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { byName } from "../../ui/by-name";
import { Dialog } from "../../ui/dialog";
import { Badge, Button, Field, Meter, Time, scrolls } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { Shown, TONE } from "../operations/shown";

export function Lines() {
  const cache = useQueryClient();
  const [edited, setEdited] = useState<LineRead | null>(null);
  const query = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const act = useMutation({
    mutationFn: async (unblocked?: string) => {
      if (unblocked) await unblockLine({ path: { line_id: unblocked }, throwOnError: true });
      else await syncLines({ throwOnError: true });
    },
    onSuccess: (_, unblocked) => (say(unblocked ? t("Unblocked. The next message tries the line.") : t("The lines were read from the provider.")), void cache.invalidateQueries({ queryKey: ["lines"] })),
    onError: fail,
  });
  const mayWrite = may("admin");
  return (
    <section className="card" aria-labelledby="lines-title">
      <div className="card-head">
        <h2 id="lines-title">{t("Lines")}</h2>
        {mayWrite && <Button busy={act.isPending} onClick={() => act.mutate(undefined)}>{t("Read them from the provider")}</Button>}
      </div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Name")}</th><th>{t("Number")}</th><th>{t("Status")}</th><th>{t("Today")}</th><th>{t("Time zone")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {byName(query.data?.data).map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.name}</strong></td>
                  <td className="number">{phone(one.number)}</td>
                  <td>
                    <Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge>
                    {one.blocked_reason && <p>{one.blocked_reason}</p>}
                    {one.probe_at && <p className="faint">{t("One message tries it at")} <Time at={one.probe_at} /></p>}
                  </td>
                  <td>
                    <Meter value={one.sent_today} of={one.limit_today} label={t("Sent today by {name}", { name: one.name })} tone={one.sent_today >= one.limit_today ? "warn" : "info"} />
                    <span className="faint number">{t("{n} of {limit} today", { n: count(one.sent_today), limit: count(one.limit_today) })}</span>
                    {one.ramp_plan && <span className="faint"> · {t("being warmed up")}</span>}
                  </td>
                  <td className="faint">{one.timezone}</td>
                  <td className="end">
                    {mayWrite && one.status === "blocked" && <Button busy={act.isPending} onClick={() => act.mutate(one.id)}>{t("Unblock")}</Button>}
                    {mayWrite && <Button kind="quiet" aria-label={t("Change {name}", { name: one.name })} onClick={() => setEdited(one)}>{t("Change")}</Button>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {query.data?.data.length === 0 && <p className="card-body faint">{t("No line yet. Read them from the provider.")}</p>}
      </Shown>
      {edited && <LineDialog line={edited} onClose={() => setEdited(null)} />}
    </section>
  );
}

function LineDialog({ line, onClose }: { line: LineRead; onClose: () => void }) {
  const cache = useQueryClient();
  const save = useMutation({
    mutationFn: (body: LineUpdate) => data(updateLine({ path: { line_id: line.id }, body, throwOnError: true })),
    onSuccess: () => (say(t("Saved.")), void cache.invalidateQueries({ queryKey: ["lines"] }), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const ramp = String(form.get("ramp")).split(/[\s,]+/).filter(Boolean).map(Number);
    const wasRamp = line.ramp_plan ?? [];
    save.mutate({
      name: String(form.get("name")), daily_limit: Number(form.get("daily_limit")), timezone: String(form.get("timezone")), resend_unclear: form.get("resend_unclear") === "on",
      // Setting a ramp (limits of the first days) restarts it. So send it only if it has changed.
      ...(ramp.join() === wasRamp.join() ? {} : { ramp_plan: ramp.length > 0 ? ramp : null }),
    });
  };
  const ramp = Object.entries((save.error as { fields?: Record<string, string> } | null)?.fields ?? {}).find(([pointer]) => pointer.startsWith("/ramp_plan"))?.[1];
  return (
    <Dialog title={phone(line.number)} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="main" type="submit" form="line-form" busy={save.isPending}>{t("Save")}</Button></>}>
      <form id="line-form" className="form" onSubmit={submit}>
        {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <Field label={t("Name")} error={fieldError(save.error, "/name")}>{(attributes) => <input {...attributes} name="name" defaultValue={line.name} />}</Field>
        <Field label={t("Messages a day, at most")} error={fieldError(save.error, "/daily_limit")}>{(attributes) => <input {...attributes} name="daily_limit" type="number" min={0} defaultValue={line.daily_limit} />}</Field>
        <Field label={t("Limits of the first days")} error={ramp} hint={t("For a new number, such as 25, 50, 75, 100. Empty is none.")}>{(attributes) => <input {...attributes} name="ramp" defaultValue={(line.ramp_plan ?? []).join(", ")} />}</Field>
        <Field label={t("Time zone")} error={fieldError(save.error, "/timezone")}>{(attributes) => <input {...attributes} name="timezone" defaultValue={line.timezone} />}</Field>
        <label className="check"><input type="checkbox" name="resend_unclear" defaultChecked={line.resend_unclear} />{t("Send again by itself when a message was certainly not sent")}</label>
      </form>
    </Dialog>
  );
}
