/** How the service is: alerts, health from three sides, events, jobs and workers, reconciliation, audit log. */
import { useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { data } from "../api/client";
import {
  acknowledgeAlert, createRun, listAlerts, listAuditLog, listChecks, listEvents, listRuns, listScheduledJobs, listWorkers, orderCheck, ready, replayEvent,
  type AlertRead, type AuditEntryRead, type WebhookEventRead, type WebhookHealthSide,
} from "../api/generated";
import { count } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { useKeyset } from "../ui/keyset";
import { Badge, Button, Failed, Loading, PageHead, Time, type Tone, scrolls } from "../ui/parts";
import { PartsNav } from "../ui/parts-nav";
import { fail, say } from "../ui/toasts";
import { plain } from "../ui/words";

export function Operations() {
  const part = useSearch({ from: "/shell/operations" }).part ?? "alerts";
  const parts: [string, string][] = [
    ["alerts", t("Alerts")], ["health", t("Health")], ["events", t("Events of the provider")], ["jobs", t("Jobs and workers")], ["reconciliation", t("Reconciliation")],
    ...(may("admin") ? ([["audit", t("Audit log")]] as [string, string][]) : []),
  ];
  return (
    <>
      <PageHead title={t("Operations")} />
      <PartsNav to="/operations" parts={parts} current={part} label={t("Parts")} />
      <div className="sections">
        {part === "alerts" && <Alerts />}
        {part === "health" && <Health />}
        {part === "events" && <Events />}
        {part === "jobs" && <Jobs />}
        {part === "reconciliation" && <Reconciliation />}
        {part === "audit" && <Audit />}
      </div>
    </>
  );
}

export const TONE: Record<string, Tone> = {
  ok: "good", passed: "good", alive: "good", completed: "good", processed: "good", delivered: "good", active: "good", approved: "good", accepted: "good",
  failed: "bad", failing: "bad", dead: "bad", silent: "bad", unavailable: "bad", blocked: "bad", disabled: "bad", rejected: "bad", open: "bad", revoked: "neutral",
  degraded: "warn", overdue: "warn", waiting: "info", running: "info", pending: "info", invited: "info", submitted: "info", acknowledged: "warn",
};

export function Shown({ query, children }: { query: { isPending: boolean; isError: boolean; error: unknown; refetch: () => unknown }; children: ReactNode }) {
  if (query.isPending) return <Loading />;
  if (query.isError) return <Failed error={query.error} again={() => void query.refetch()} />;
  return children;
}

function Alerts() {
  const cache = useQueryClient();
  const query = useQuery({ queryKey: ["alerts"], queryFn: () => data(listAlerts({ query: { limit: 100 }, throwOnError: true })) });
  const acknowledge = useMutation({
    mutationFn: (id: string) => data(acknowledgeAlert({ path: { alert_id: id }, throwOnError: true })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["alerts"] }),
    onError: fail,
  });
  const rows = query.data?.data ?? [];
  const open = rows.filter((one) => one.status !== "resolved");
  const old = rows.filter((one) => one.status === "resolved");
  const row = (one: AlertRead) => (
    <li key={one.id} className="alert-row">
      <div>
        <p><Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge> <strong>{plain(one.kind)}</strong> {one.count > 1 && <span className="faint">{t("{n} times", { n: one.count })}</span>}</p>
        <p>{one.detail}</p>
        <p className="faint">{t("since")} <Time at={one.first_seen_at} /></p>
      </div>
      {one.status === "open" && <div><Button busy={acknowledge.isPending} onClick={() => acknowledge.mutate(one.id)}>{t("I take care of it")}</Button></div>}
    </li>
  );
  return (
    <Shown query={query}>
      <section className="card" aria-labelledby="open-alerts">
        <div className="card-head"><h2 id="open-alerts">{t("Need somebody")}</h2></div>
        {open.length === 0 ? <p className="card-body faint">{t("Nothing needs you.")}</p> : <ul>{open.map(row)}</ul>}
      </section>
      {old.length > 0 && (
        <section className="card" aria-labelledby="old-alerts">
          <div className="card-head"><h2 id="old-alerts">{t("Resolved")}</h2></div>
          <ul>{old.slice(0, 30).map(row)}</ul>
        </section>
      )}
    </Shown>
  );
}

function Health() {
  const cache = useQueryClient();
  const state = useQuery({ queryKey: ["ready"], queryFn: () => data(ready({ throwOnError: true })), refetchInterval: 30_000 });
  const checks = useQuery({ queryKey: ["health-checks"], queryFn: () => data(listChecks({ query: { limit: 20 }, throwOnError: true })) });
  const order = useMutation({
    mutationFn: (side: WebhookHealthSide) => data(orderCheck({ body: { side }, throwOnError: true })),
    onSuccess: () => (say(t("The check has begun.")), void cache.invalidateQueries({ queryKey: ["health-checks"] })),
    onError: fail,
  });
  const side = (name: WebhookHealthSide) => ({ test_text: t("A message to ourselves"), silence: t("Silence"), provider: t("Registered at the provider") })[name];
  return (
    <>
      <section className="card" aria-labelledby="service-title">
        <div className="card-head"><h2 id="service-title">{t("The service")}</h2></div>
        <Shown query={state}>
          <div className="sides">
            {Object.entries((state.data?.checks ?? {}) as Record<string, unknown>).map(([name, value]) => {
              const found = typeof value === "string" ? value : String((value as { state?: string; status?: string }).state ?? (value as { status?: string }).status);
              return (
                <div key={name} className="side-box">
                  <strong>{plain(name)}</strong>
                  <Badge tone={TONE[found] ?? "neutral"}>{plain(found)}</Badge>
                  {typeof value === "object" && value && "detail" in value && <span className="faint">{String(value.detail)}</span>}
                </div>
              );
            })}
          </div>
        </Shown>
      </section>
      <section className="card" aria-labelledby="webhooks-title">
        <div className="card-head"><h2 id="webhooks-title">{t("Do events of the provider arrive?")}</h2></div>
        <Shown query={checks}>
          <div className="sides">
            {checks.data?.health.sides.map((one) => (
              <div key={one.side} className="side-box">
                <strong>{side(one.side)}</strong>
                <Badge tone={one.is_on ? (TONE[one.status ?? ""] ?? "neutral") : "neutral"}>{one.is_on ? plain(one.status) : t("Off")}</Badge>
                <span className="faint">{one.failure ?? one.off_because ?? ""}</span>
                {one.concluded_at && <span className="faint"><Time at={one.concluded_at} /></span>}
                {one.is_on && may("operations") && <p><Button kind="quiet" busy={order.isPending} onClick={() => order.mutate(one.side)}>{t("Check now")}</Button></p>}
              </div>
            ))}
          </div>
        </Shown>
      </section>
    </>
  );
}

function Events() {
  const cache = useQueryClient();
  const { query } = useKeyset<WebhookEventRead>(["webhook-events"], (cursor) => data(listEvents({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const replay = useMutation({
    mutationFn: (id: string) => data(replayEvent({ path: { event_id: id }, throwOnError: true })),
    onSuccess: () => (say(t("The event is applied again.")), void cache.invalidateQueries({ queryKey: ["webhook-events"] })),
    onError: fail,
  });
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card" aria-labelledby="events-title">
      <div className="card-head"><h2 id="events-title">{t("Events of the provider")}</h2></div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead>
              <tr><th>{t("Type")}</th><th>{t("Status")}</th><th>{t("Received")}</th><th>{t("Error")}</th><th><span className="hidden">{t("Actions")}</span></th></tr>
            </thead>
            <tbody>
              {rows.map((one) => (
                <tr key={one.id}>
                  <td><code>{one.type}</code></td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge></td>
                  <td className="faint"><Time at={one.received_at} /></td>
                  <td>{one.last_error ?? ""}</td>
                  <td className="end">
                    {(one.status === "failed" || one.status === "dead") && may("webhooks:write") && <Button kind="quiet" busy={replay.isPending} onClick={() => replay.mutate(one.id)}>{t("Apply again")}</Button>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {rows.length === 0 && <p className="card-body faint">{t("No event has arrived yet.")}</p>}
        {query.hasNextPage && <p className="more"><Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button></p>}
      </Shown>
    </section>
  );
}

function Jobs() {
  const jobs = useQuery({ queryKey: ["jobs"], queryFn: () => data(listScheduledJobs({ query: { limit: 100 }, throwOnError: true })), refetchInterval: 30_000 });
  const workers = useQuery({ queryKey: ["workers"], queryFn: () => data(listWorkers({ query: { limit: 50 }, throwOnError: true })), refetchInterval: 30_000 });
  return (
    <>
      <section className="card" aria-labelledby="workers-title">
        <div className="card-head"><h2 id="workers-title">{t("Workers")}</h2></div>
        <Shown query={workers}>
          <div className="sides">
            {workers.data?.data.map((one) => (
              <div key={one.id} className="side-box">
                <strong>{one.host ?? t("Worker")}</strong>
                <Badge tone={TONE[one.state] ?? "neutral"}>{plain(one.state)}</Badge>
                <span className="faint">{t("seen")} <Time at={one.last_seen_at} /></span>
              </div>
            ))}
          </div>
        </Shown>
      </section>
      <section className="card" aria-labelledby="jobs-title">
        <div className="card-head"><h2 id="jobs-title">{t("Scheduled jobs")}</h2></div>
        <Shown query={jobs}>
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead>
                <tr><th>{t("Job")}</th><th>{t("State")}</th><th>{t("Last run")}</th><th className="end">{t("Took")}</th><th>{t("Result")}</th><th className="end">{t("Failures")}</th></tr>
              </thead>
              <tbody>
                {jobs.data?.data.map((one) => (
                  <tr key={one.name}>
                    <td><code>{one.name}</code></td>
                    <td><Badge tone={TONE[one.state] ?? "neutral"}>{plain(one.state)}</Badge></td>
                    <td className="faint"><Time at={one.last_started_at} relative /></td>
                    <td className="end">{one.duration_ms === null ? "–" : t("{n} ms", { n: count(one.duration_ms) })}</td>
                    <td>{one.last_error ?? one.last_result ?? ""}</td>
                    <td className="end">{count(one.failures)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Shown>
      </section>
    </>
  );
}

function Reconciliation() {
  const cache = useQueryClient();
  const runs = useQuery({ queryKey: ["reconciliation"], queryFn: () => data(listRuns({ query: { limit: 30 }, throwOnError: true })), refetchInterval: 15_000 });
  const begin = useMutation({
    mutationFn: () => data(createRun({ body: {}, throwOnError: true })),
    onSuccess: () => (say(t("The comparison has begun.")), void cache.invalidateQueries({ queryKey: ["reconciliation"] })),
    onError: fail,
  });
  return (
    <section className="card" aria-labelledby="runs-title">
      <div className="card-head">
        <h2 id="runs-title">{t("Comparisons with the provider")}</h2>
        {may("operations") && <Button busy={begin.isPending} onClick={() => begin.mutate()}>{t("Compare now")}</Button>}
      </div>
      <Shown query={runs}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead>
              <tr><th>{t("Began")}</th><th>{t("Status")}</th><th>{t("Reason")}</th><th className="end">{t("Seen")}</th><th className="end">{t("Missing, added")}</th><th className="end">{t("Changed")}</th><th className="end">{t("Errors")}</th></tr>
            </thead>
            <tbody>
              {runs.data?.data.map((one) => (
                <tr key={one.id}>
                  <td className="faint"><Time at={one.created_at} /></td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge></td>
                  <td>{plain(one.trigger)}</td>
                  <td className="end">{count(one.items_seen)}</td>
                  <td className="end">{count(one.created)}</td>
                  <td className="end">{count(one.updated)}</td>
                  <td className="end">{count(one.errors)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {runs.data?.data.length === 0 && <p className="card-body faint">{t("None yet. One runs every night, and after an outage.")}</p>}
      </Shown>
    </section>
  );
}

function Audit() {
  const { query } = useKeyset<AuditEntryRead>(["audit"], (cursor) => data(listAuditLog({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card" aria-labelledby="audit-title">
      <div className="card-head"><h2 id="audit-title">{t("Who changed what")}</h2></div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("When")}</th><th>{t("Who")}</th><th>{t("What")}</th><th>{t("Where from")}</th></tr></thead>
            <tbody>
              {rows.map((one) => (
                <tr key={one.id}>
                  <td className="faint"><Time at={one.created_at} /></td>
                  <td>{one.actor}</td>
                  <td>{plain(one.action)}</td>
                  <td className="faint">{one.address ?? ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {query.hasNextPage && <p className="more"><Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button></p>}
      </Shown>
    </section>
  );
}
