/** Money: what messages earned and cost, in total and by group, and the entered costs. */
import { useQueries } from "@tanstack/react-query";
import { data } from "../../api/client";
import { getInsight, type FigureRead, type InsightDimension, type InsightRead } from "../../api/generated";
import { t } from "../../i18n";
import { PartsBar } from "../../ui/charts";
import { Empty, Failed, Loading, scrolls } from "../../ui/parts";
import { filtersOf, periodOf, useAddress, useNow, zoneOf } from "./address";
import { Costs } from "./costs";
import { Choice, MoreFilters, PeriodChoice } from "./filters";
import { doubts, ofWhole } from "./marks";
import { Records } from "./records";
import { dimensionName, keyName, measureName, shown } from "./words";

const TOTALS = ["revenue", "revenue_attributed", "revenue_unattributed", "cost", "return", "cost_per_reply", "cost_per_appointment", "cost_per_job"];
const COLUMNS = ["revenue_attributed", "cost", "return", "cost_per_reply", "cost_per_appointment", "cost_per_job"];
const BY: InsightDimension[] = ["campaign", "list", "variant", "line", "zip", "city", "year_built_band", "value_band", "source"];

export function Money() {
  const { search, set } = useAddress();
  const zone = zoneOf(search);
  const rules = search.rules === undefined ? {} : { rules: Number(search.rules) };
  const period = { ...periodOf(search, useNow(), zone), timezone: zone, ...rules };
  const filters = filtersOf(search);
  const isFiltered = Object.keys(filters).length > 0;
  const by = BY.find((one) => one === search.by) ?? "campaign";
  // Unattributed money belongs to no campaign. So it has no figure if a filter is set.
  const totals = TOTALS.filter((one) => !isFiltered || one !== "revenue_unattributed");
  const read = (measure: string, dimension?: InsightDimension) => {
    const question = { measure, ...period, ...filters, ...(dimension ? { by: dimension } : {}) };
    return { queryKey: ["insight", question], queryFn: () => data(getInsight({ query: question, throwOnError: true })) };
  };
  const found = useQueries({ queries: totals.map((one) => read(one)) });
  const split = useQueries({ queries: COLUMNS.map((one) => read(one, by)) });
  const failed = [...found, ...split].find((one) => one.isLoadingError);
  const answers = new Map(found.flatMap((one) => (one.data ? [[one.data.measure, one.data] as const] : [])));
  const opened = search.open?.split(":")[0];
  const [openedIn, key] = [answers.get(opened ?? "") ?? split.find((one) => one.data?.measure === opened)?.data, search.open?.split(":").slice(1).join(":")];
  const figure = key === undefined || !openedIn ? null : key === "total" ? openedIn.total : split.find((one) => one.data?.measure === opened)?.data?.rows.find((one) => `=${one.key ?? ""}` === key);
  return (
    <>
      <div className="filters insight-filters">
        <PeriodChoice />
        <MoreFilters ofCampaign withStep={false} />
      </div>
      {failed ? (
        <Failed error={failed.error} again={() => void failed.refetch()} />
      ) : found.some((one) => one.isPending) ? (
        <Loading />
      ) : (
        <div className="sections">
          <Totals totals={totals.map((one) => answers.get(one)!)} onOpen={(measure) => set({ open: `${measure}:total` })} />
          {!isFiltered && <Conserved attributed={answers.get("revenue_attributed")!} unattributed={answers.get("revenue_unattributed")!} />}
          <section className="card" aria-labelledby="money-split">
            <div className="card-head">
              <h2 id="money-split">{t("Where the money comes from")}</h2>
              <Choice label={t("Split by")} value={by} onChange={(value) => set({ by: value })}>
                {BY.map((one) => <option key={one} value={one}>{t("by {name}", { name: dimensionName(one) })}</option>)}
              </Choice>
            </div>
            {split.some((one) => one.isPending) ? <Loading /> : <Split by={by} columns={split.map((one) => one.data!)} onOpen={(measure, one) => set({ open: `${measure}:=${one.key ?? ""}` })} />}
          </section>
          <Costs />
        </div>
      )}
      {figure && openedIn && (
        <Records
          figure={figure}
          title={`${measureName(openedIn.measure)} · ${key === "total" ? t("Total") : keyName(by, figure)}`}
          measure={openedIn.measure}
          unit={openedIn.unit}
          by={key === "total" ? null : by}
          zone={zone}
          onClose={() => set({ open: undefined })}
        />
      )}
    </>
  );
}

function Totals({ totals, onOpen }: { totals: InsightRead[]; onOpen: (measure: string) => void }) {
  const isHidden = totals.every((one) => one.total.value === null && one.total.numerator === null);
  if (isHidden) return <p className="notice">{t("Your role does not show amounts.")}</p>;
  return (
    <ul className="money-totals" aria-label={t("Totals")}>
      {totals.map(({ measure, unit, total, definition }) => (
        <li key={measure} className="card card-body" title={t(definition)}>
          <span>{measureName(measure)}</span>
          <button type="button" className="link" data-total={measure} data-value={total.value ?? ""} aria-label={t("{value}: open the records of {name}", { value: shown(total.value, unit), name: measureName(measure) })} onClick={() => onOpen(measure)}>
            {shown(total.value, unit)}
          </button>
          <small className="faint">
            {unit === "cents" && total.denominator !== null ? t("{cents} for {n}", { cents: shown(total.numerator, "cents"), n: shown(total.denominator, "count") }) : unit === "ratio" ? t("{earned} for {cost}", { earned: shown(total.numerator, "cents"), cost: shown(total.denominator, "cents") }) : ofWhole(total)}
          </small>
          {doubts(total).map((one) => <small key={one} className="money-doubt">{one}</small>)}
        </li>
      ))}
    </ul>
  );
}

/** Show attributed and unattributed revenue. Their sum is exactly the total revenue. */
function Conserved({ attributed, unattributed }: { attributed: InsightRead; unattributed: InsightRead }) {
  const parts = [attributed, unattributed].map((one) => ({
    id: one.measure,
    name: measureName(one.measure),
    value: Number(one.total.value ?? 0),
    text: `${measureName(one.measure)}: ${shown(one.total.value, "cents")}`,
  }));
  const whole = parts.reduce((sum, one) => sum + one.value, 0);
  if (whole === 0) return null;
  return (
    <figure className="card card-body money-parts">
      <figcaption>{t("All revenue: {all}. Under these rules messages earned {part} of it.", { all: shown(whole, "cents"), part: shown(parts[0]!.value / whole, "rate") })}</figcaption>
      <PartsBar parts={parts} label={t("Revenue")} />
      <ul className="chart-legend">
        {parts.map((one, at) => <li key={one.id}><i className={`chart-key-${at}`} aria-hidden="true" />{one.text}</li>)}
      </ul>
    </figure>
  );
}

function Split({ by, columns, onOpen }: { by: InsightDimension; columns: InsightRead[]; onOpen: (measure: string, one: FigureRead) => void }) {
  const keys = new Map<string, FigureRead>();
  for (const column of columns) for (const one of column.rows) if (!keys.has(one.key ?? "")) keys.set(one.key ?? "", one);
  const value = (at: number, key: string) => columns[at]!.rows.find((one) => (one.key ?? "") === key);
  const ordered = [...keys].sort(([one], [other]) => Number(value(0, other)?.value ?? 0) - Number(value(0, one)?.value ?? 0) || one.localeCompare(other));
  if (!ordered.length) return <Empty title={t("Nothing in this period")}>{t("Choose a longer period, or remove a filter.")}</Empty>;
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="table" aria-label={t("Where the money comes from")}>
        <thead><tr><th>{dimensionName(by)}</th>{columns.map((one) => <th key={one.measure} className="end">{measureName(one.measure)}</th>)}</tr></thead>
        <tbody>
          {ordered.map(([key, first]) => (
            <tr key={key} data-row={key}>
              <td>{keyName(by, first)}</td>
              {columns.map((column, at) => {
                const one = value(at, key);
                return (
                  <td key={column.measure} className={`end ${one && !one.enough ? "insight-thin" : ""}`}>
                    {one ? <button type="button" className="link" aria-label={t("{value}: open the records of {name}", { value: shown(one.value, column.unit), name: `${measureName(column.measure)}, ${keyName(by, first)}` })} onClick={() => onOpen(column.measure, one)}>{shown(one.value, column.unit)}</button> : "–"}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      <p className="insight-hint faint">{t("Grey figures rest on fewer than 30 records.")}</p>
    </div>
  );
}
