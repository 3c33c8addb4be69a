/** The health of the service, and three checks that show whether events of the provider arrive. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { data } from "../../api/client";
import { listChecks, orderCheck, ready, type WebhookHealthSide } from "../../api/generated";
import { count } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Badge, Button, Time, scrolls } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { failedStep, partName } from "../../ui/operation-names";
import { Raw, Shown, TONE } from "./shown";

export function sideName(side: WebhookHealthSide): string {
  return { test_text: t("A message to ourselves"), silence: t("Silence"), provider: t("Registered at the provider") }[side];
}

function sideHint(side: WebhookHealthSide): string {
  return {
    test_text: t("One of your lines writes to another; its event must arrive within two minutes."),
    silence: t("Messages were sent, so reports must come."),
    provider: t("The provider knows this service's address, its events and its key."),
  }[side];
}

export function Health() {
  const state = useQuery({ queryKey: ["ready"], queryFn: () => data(ready({ throwOnError: true })), refetchInterval: 30_000 });
  return (
    <>
      <section className="card" aria-labelledby="service-title">
        <div className="card-head">
          <h2 id="service-title">{t("The service")}</h2>
          {state.data && <Badge tone={TONE[state.data.status] ?? "neutral"}>{stateName(state.data.status)}</Badge>}
        </div>
        <Shown query={state}>
          <div className="sides">
            {Object.entries((state.data?.checks ?? {}) as Record<string, string>).map(([name, value]) => (
              <div key={name} className="side-box">
                <strong>{partName(name)}</strong>
                {TONE[value] ? <Badge tone={TONE[value]}>{stateName(value)}</Badge> : <><Badge tone="bad">{t("Not well")}</Badge><span className="faint">{value}</span></>}
              </div>
            ))}
          </div>
        </Shown>
      </section>
      <Arrival />
    </>
  );
}

/** Show three checks of whether events of the provider arrive. */
export function Arrival() {
  const cache = useQueryClient();
  const checks = useQuery({ queryKey: ["health-checks"], queryFn: () => data(listChecks({ query: { limit: 20 }, throwOnError: true })), refetchInterval: 15_000 });
  const order = useMutation({
    mutationFn: (side: WebhookHealthSide) => data(orderCheck({ body: { side }, throwOnError: true })),
    onSuccess: () => (say(t("The check has begun.")), void cache.invalidateQueries({ queryKey: ["health-checks"] })),
    onError: fail,
  });
  const rows = checks.data?.data ?? [];
  return (
    <section className="card" aria-labelledby="webhooks-title">
      <div className="card-head"><h2 id="webhooks-title">{t("Do events of the provider arrive?")}</h2></div>
      <Shown query={checks}>
        <div className="sides">
          {checks.data?.health.sides.map((one) => (
            <div key={one.side} className="side-box">
              <strong>{sideName(one.side)}</strong>
              <Badge tone={one.is_on ? (TONE[one.status ?? ""] ?? "neutral") : "neutral"}>{one.is_on ? (one.status ? stateName(one.status) : t("Not checked yet")) : t("Off")}</Badge>
              <span className="faint">{one.failure ?? one.off_because ?? sideHint(one.side)}</span>
              {one.concluded_at && <span className="faint"><Time at={one.concluded_at} /></span>}
              {one.is_on && may("operations") && <p><Button kind="quiet" aria-label={t("Check now: {side}", { side: sideName(one.side) })} busy={order.isPending} onClick={() => order.mutate(one.side)}>{t("Check now")}</Button></p>}
            </div>
          ))}
        </div>
        {rows.length > 0 && (
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead><tr><th>{t("Side")}</th><th>{t("Result")}</th><th>{t("Asked")}</th><th className="end">{t("Took")}</th><th>{t("Failed at")}</th><th>{t("Evidence")}</th></tr></thead>
              <tbody>
                {rows.map((one) => (
                  <tr key={one.id}>
                    <td>{sideName(one.side)}</td>
                    <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                    <td className="faint"><Time at={one.created_at} /> · {one.asked_by}</td>
                    <td className="end">{one.latency_ms === null ? "–" : t("{n} ms", { n: count(one.latency_ms) })}</td>
                    <td>{one.leg ? failedStep(one.leg) : ""} {one.failure && <span className="faint">{one.failure}</span>}</td>
                    <td><Raw value={one.evidence} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Shown>
    </section>
  );
}
