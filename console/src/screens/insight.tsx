/** The Insight screen: figures, funnel, cohorts, money, outcomes, holdouts, attribution rules. */
import { Link } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { t } from "../i18n";
import { Loading, PageHead } from "../ui/parts";
import { useAddress } from "./insight/address";
import { Figures } from "./insight/figures";
import "./insight.css";

const PARTS = {
  figures: Figures,
  funnel: lazy(() => import("./insight/funnel").then((one) => ({ default: one.Funnel }))),
  cohorts: lazy(() => import("./insight/cohorts").then((one) => ({ default: one.Cohorts }))),
  money: lazy(() => import("./insight/money").then((one) => ({ default: one.Money }))),
  outcomes: lazy(() => import("./insight/outcomes").then((one) => ({ default: one.Outcomes }))),
  holdouts: lazy(() => import("./insight/holdouts").then((one) => ({ default: one.Holdouts }))),
  rules: lazy(() => import("./insight/rules").then((one) => ({ default: one.Rules }))),
};

const partNames = (): [keyof typeof PARTS, string][] => [
  ["figures", t("Figures")], ["funnel", t("Funnel")], ["cohorts", t("Cohorts")], ["money", t("Money")],
  ["outcomes", t("Results")], ["holdouts", t("Holdouts")], ["rules", t("Attribution rules")],
];

export function Insight() {
  const { search } = useAddress();
  const part = partNames().find(([name]) => name === search.part)?.[0] ?? "figures";
  const Part = PARTS[part];
  return (
    <>
      <PageHead title={t("Insight")} />
      <div className="parts-nav" role="group" aria-label={t("Parts of Insight")}>
        {partNames().map(([name, text]) => (
          <Link
            key={name}
            to="/insight"
            search={(was) => ({ ...was, part: name === "figures" ? undefined : name, open: undefined, compare: undefined })}
            aria-current={part === name ? "true" : undefined}
            activeOptions={{ exact: true }}
          >
            {text}
          </Link>
        ))}
      </div>
      <Suspense fallback={<Loading />}>
        <Part />
      </Suspense>
    </>
  );
}
