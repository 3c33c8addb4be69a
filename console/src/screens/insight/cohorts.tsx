/**
 * The people of each day, week or month, and how many of them reached a stage in a number of days.
 * A cell with incomplete data has no figure.
 */
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { getCohorts, type CohortCellRead, type CohortsRead, type FunnelStage, type InsightBucket } from "../../api/generated";
import { count, rate } from "../../format";
import { t } from "../../i18n";
import { Empty, Failed, Loading, scrolls } from "../../ui/parts";
import { filtersOf, periodOf, useAddress, useNow, zoneOf } from "./address";
import { Choice, MoreFilters, PeriodChoice } from "./filters";
import { bucketDate } from "./marks";
import { bucketName, stageName } from "./words";

const STAGES: FunnelStage[] = ["delivered", "replied", "appointment_booked", "quote_sent", "job_done", "invoice_paid"];
const BUCKETS: InsightBucket[] = ["day", "week", "month"];
const WIDTHS = ["1d", "7d", "30d"];
const STEPS = 8;

export function Cohorts() {
  const { search, set } = useAddress();
  const zone = zoneOf(search);
  const stage = STAGES.find((one) => one === search.stage) ?? "replied";
  const bucket = BUCKETS.find((one) => one === search.bucket) ?? "week";
  const width = WIDTHS.find((one) => one === search.width) ?? "7d";
  const question = { ...periodOf(search, useNow(), zone), ...filtersOf(search), timezone: zone, stage, bucket, step_days: parseInt(width, 10), steps: STEPS };
  const query = useQuery({
    queryKey: ["cohorts", question],
    queryFn: () => data(getCohorts({ query: question, throwOnError: true })),
    placeholderData: (was) => was,
  });
  return (
    <>
      <div className="filters insight-filters">
        <Choice label={t("Stage")} value={stage} onChange={(value) => set({ stage: value })}>
          {STAGES.map((one) => <option key={one} value={one}>{stageName(one)}</option>)}
        </Choice>
        <Choice label={t("Cohort")} value={bucket} onChange={(value) => set({ bucket: value })}>
          {BUCKETS.map((one) => <option key={one} value={one}>{t("people of {period}", { period: bucketName(one) })}</option>)}
        </Choice>
        <Choice label={t("Columns")} value={width} onChange={(value) => set({ width: value })}>
          {WIDTHS.map((one) => <option key={one} value={one}>{t("{n, plural, one {a column for each day} other {a column for each # days}}", { n: parseInt(one, 10) })}</option>)}
        </Choice>
        <PeriodChoice />
        <MoreFilters ofCampaign withRules={false} withStep={false} />
      </div>
      {query.isPending ? (
        <Loading />
      ) : query.isLoadingError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : query.data.cohorts.length === 0 ? (
        <Empty title={t("No person to follow yet")}>{t("Choose a longer period, or remove a filter.")}</Empty>
      ) : (
        <Cells found={query.data} bucket={bucket} zone={zone} />
      )}
    </>
  );
}

function Cells({ found, bucket, zone }: { found: CohortsRead; bucket: InsightBucket; zone: string }) {
  const days = found.cohorts[0]!.cells.map((one) => one.days);
  const most = Math.max(...found.cohorts.flatMap((one) => one.cells.map((cell) => Number(cell.rate ?? 0))));
  return (
    <div className="sections">
      <section className="card" aria-label={t("Cohorts")}>
        <div className="scroll-x" ref={scrolls}>
          <table className="heat cohorts" aria-label={t("{stage}, of the people of each cohort", { stage: stageName(found.stage) })}>
            <thead>
              <tr>
                <th scope="col">{t("Cohort")}</th>
                <th scope="col">{t("People")}</th>
                {days.map((one) => <th key={one} scope="col">{t("{n, plural, one {# day} other {# days}}", { n: one })}</th>)}
              </tr>
            </thead>
            <tbody>
              {found.cohorts.map((one) => (
                <tr key={one.cohort_start} data-row={one.cohort_start}>
                  <th scope="row">{bucketDate(Date.parse(one.cohort_start), bucket, zone)}</th>
                  <td className="heat-count">{count(one.people)}</td>
                  {one.cells.map((cell) => <Cell key={cell.days} cell={cell} most={most} />)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <p className="insight-hint faint">
          <i className="cohort-unripe cohort-key" aria-hidden="true" /> {t("Hatched: not everybody of the cohort has been followed for so long.")}
        </p>
      </section>
    </div>
  );
}

function Cell({ cell, most }: { cell: CohortCellRead; most: number }) {
  if (!cell.ripe) return <td className="cohort-unripe" data-ripe="false"><span className="hidden">{t("not yet")}</span></td>;
  const level = most > 0 ? Number(cell.rate ?? 0) / most : 0;
  const title = t("{n} people, between {low} and {high}", { n: count(cell.reached ?? 0), low: rate(cell.low), high: rate(cell.high) });
  return (
    <td data-ripe="true" data-rate={cell.rate ?? ""} title={title} style={{ "--level": `${Math.round(level * 45)}%` } as never}>
      <span>{rate(cell.rate)}</span>
    </td>
  );
}
