/** The Operations screen: alerts, health, events, jobs, workers, reconciliations, audit log. */
import { useSearch } from "@tanstack/react-router";
import { t } from "../i18n";
import { may } from "../session";
import { PageHead } from "../ui/parts";
import { PartsNav } from "../ui/parts-nav";
import { Alerts } from "./operations/alerts";
import { Audit } from "./operations/audit";
import { Events } from "./operations/events";
import { Health } from "./operations/health";
import { Jobs } from "./operations/jobs";
import { Reconciliation } from "./operations/reconciliation";
import "./operations/operations.css";

export function Operations() {
  const parts: [string, string][] = [
    ["alerts", t("Alerts")], ["health", t("Health")], ["events", t("Events of the provider")], ["jobs", t("Jobs and workers")], ["reconciliation", t("Reconciliation")],
    ...(may("admin") ? ([["audit", t("Audit log")]] as [string, string][]) : []),
  ];
  const asked = useSearch({ from: "/shell/operations" }).part;
  const part = parts.find(([name]) => name === asked)?.[0] ?? "alerts";
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
