/** The workers, and the scheduled jobs with their last and their next run. */
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { listScheduledJobs, listWorkers } from "../../api/generated";
import { count } from "../../format";
import { t } from "../../i18n";
import { Badge, Time, scrolls } from "../../ui/parts";
import { scheduleText } from "../../ui/operation-names";
import { stateName } from "../../ui/states";
import { Command, Shown, TONE } from "./shown";

export function Jobs() {
  const jobs = useQuery({ queryKey: ["jobs"], queryFn: () => data(listScheduledJobs({ query: { limit: 100 }, throwOnError: true })), refetchInterval: 30_000 });
  const workers = useQuery({ queryKey: ["workers"], queryFn: () => data(listWorkers({ query: { limit: 50 }, throwOnError: true })), refetchInterval: 30_000 });
  const isAlone = workers.data && !workers.data.data.some((one) => one.state === "alive");
  const all = jobs.data?.data ?? [];
  const bad = all.filter((one) => one.state === "failing" || one.state === "overdue").length;
  return (
    <>
      <section className="card" aria-labelledby="workers-title">
        <div className="card-head"><h2 id="workers-title">{t("Workers")}</h2></div>
        <Shown query={workers}>
          {isAlone && (
            <div className="card-body notice notice-bad" role="alert">
              <p><strong>{t("No worker runs, so nothing is sent and no event is applied.")}</strong> {t("Start one on the server:")}</p>
              <Command>crm-api worker</Command>
            </div>
          )}
          <div className="sides">
            {workers.data?.data.map((one) => (
              <div key={one.id} className="side-box">
                <strong>{one.host ?? t("Worker")}</strong>
                <Badge tone={TONE[one.state] ?? "neutral"}>{stateName(one.state)}</Badge>
                <span className="faint">{t("seen")} <Time at={one.last_seen_at} /></span>
                <span className="faint">{t("started")} <Time at={one.started_at} /></span>
                <span className="faint">{one.version && t("version {version}", { version: one.version })} {one.process_id !== null && t("process {id}", { id: one.process_id })}</span>
              </div>
            ))}
          </div>
        </Shown>
      </section>
      <section className="card" aria-labelledby="jobs-title">
        <div className="card-head">
          <h2 id="jobs-title">{t("Scheduled jobs")}</h2>
          {jobs.data && <Badge tone={bad > 0 ? "bad" : "good"}>{bad > 0 ? t("{n} need attention", { n: bad }) : t("All well")}</Badge>}
        </div>
        <Shown query={jobs}>
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead>
                <tr><th>{t("Job")}</th><th>{t("State")}</th><th>{t("Last run")}</th><th>{t("Next run")}</th><th className="end">{t("Took")}</th><th>{t("Result")}</th><th className="end">{t("Runs")}</th><th className="end">{t("Failures")}</th><th className="end">{t("Missed")}</th></tr>
              </thead>
              <tbody>
                {all.map((one) => (
                  <tr key={one.name}>
                    <td><code>{one.name}</code> <span className="faint">{scheduleText(one.schedule)}</span></td>
                    <td><Badge tone={TONE[one.state] ?? "neutral"}>{stateName(one.state)}</Badge></td>
                    <td className="faint"><Time at={one.last_started_at} relative /></td>
                    <td className="faint"><Time at={one.next_run_at} relative /></td>
                    <td className="end">{one.duration_ms === null ? "–" : t("{n} ms", { n: count(one.duration_ms) })}</td>
                    <td>{one.last_error ?? (one.last_result ? stateName(one.last_result) : "")}</td>
                    <td className="end">{count(one.runs)}</td>
                    <td className="end">{count(one.failures)}</td>
                    <td className="end">{count(one.misses)}</td>
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
