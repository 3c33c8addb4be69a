/** The figures of a measure: in total, over time, by group. Each figure opens its records. */
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { getInsight, listMeasures, type FigureRead, type InsightBucket, type InsightRead, type MeasureRead } from "../../api/generated";
import type { InsightSearch } from "../../routes";
import { when } from "../../format";
import { t } from "../../i18n";
import { GroupChart, TimeChart, type TimeMark } from "../../ui/charts";
import { Button, Empty, Failed, Loading, scrolls } from "../../ui/parts";
import { filtersOf, periodOf, useAddress, useNow, zoneOf, type Question } from "./address";
import { Comparison } from "./compare";
import { Choice, MoreFilters, PeriodChoice } from "./filters";
import { Heat } from "./heat";
import { between, bucketDate, doubts, groupName, idOf, inOrder, LENGTH, markOf } from "./marks";
import { Records } from "./records";
import { bucketName, dimensionName, keyName, measureGroups, measureName, number, periodName, shown, tick } from "./words";

const BUCKETS: InsightBucket[] = ["day", "week", "month"];
const MOST_BARS = 30;
const MOST_ROWS = 60;
const MOST_SERIES = 8;

function questionOf(search: InsightSearch, known: MeasureRead | undefined, now: number): Question {
  const zone = zoneOf(search);
  const by = known?.by.find((one) => one === search.by);
  const bucket = BUCKETS.find((one) => one === search.bucket);
  const ofCampaign = known?.by.includes("campaign");
  return {
    measure: search.measure ?? "reply_rate",
    ...periodOf(search, now, zone),
    timezone: zone,
    ...(by ? { by } : {}),
    ...(bucket ? { bucket } : {}),
    ...(ofCampaign ? filtersOf(search) : {}),
    ...(ofCampaign && search.step !== undefined ? { step: Number(search.step) } : {}),
    ...(search.rules !== undefined ? { rules: Number(search.rules) } : {}),
  };
}

export function Figures() {
  const { search, set } = useAddress();
  const now = useNow();
  const measures = useQuery({ queryKey: ["measures"], queryFn: () => data(listMeasures({ throwOnError: true })), staleTime: Infinity });
  const known = measures.data?.data.find((one) => one.name === (search.measure ?? "reply_rate"));
  const question = questionOf(search, known, now);
  const query = useQuery({
    queryKey: ["insight", question],
    queryFn: () => data(getInsight({ query: question, throwOnError: true })),
    placeholderData: (was) => was,
    enabled: measures.isSuccess,
  });
  const found = query.data;
  return (
    <>
      <div className="filters insight-filters">
        <Choice label={t("Measure")} value={question.measure} onChange={(measure) => set({ measure, by: undefined, compare: undefined, open: undefined })}>
          {measureGroups().map(([group, names]) => (
            <optgroup key={group} label={group}>
              {names.filter((name) => measures.data?.data.some((one) => one.name === name)).map((name) => <option key={name} value={name}>{measureName(name)}</option>)}
            </optgroup>
          ))}
        </Choice>
        <Choice label={t("Split by")} value={question.by ?? ""} onChange={(by) => set({ by, compare: undefined, open: undefined })}>
          <option value="">{t("Not split")}</option>
          {known?.by.map((one) => <option key={one} value={one}>{t("by {name}", { name: dimensionName(one) })}</option>)}
        </Choice>
        <Choice label={t("Over time")} value={question.bucket ?? ""} onChange={(bucket) => set({ bucket, compare: undefined, open: undefined })}>
          <option value="">{t("Not over time")}</option>
          {BUCKETS.map((one) => <option key={one} value={one}>{bucketName(one)}</option>)}
        </Choice>
        <PeriodChoice />
        <MoreFilters ofCampaign={known?.by.includes("campaign") ?? true} />
      </div>
      {measures.isLoadingError ? (
        <Failed error={measures.error} again={() => void measures.refetch()} />
      ) : query.isLoadingError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : !found ? (
        <Loading />
      ) : (
        <Found found={found} search={search} set={set} isOld={query.isPlaceholderData} />
      )}
    </>
  );
}

type FoundProps = { found: InsightRead; search: InsightSearch; set: (change: InsightSearch) => void; isOld: boolean };

function Found({ found, search, set, isOld }: FoundProps) {
  const { by, bucket, unit, timezone: zone } = found;
  const rows = by && !bucket ? inOrder(found.rows, by) : found.rows;
  const opened = search.open === "total" ? found.total : rows.find((one) => idOf(one) === search.open);
  const name = (one: FigureRead) => (one === found.total ? t("Total") : groupName(one, by, bucket, zone));
  const [first, second] = String(search.compare ?? "").split("~").map((key) => rows.find((one) => idOf(one) === key));
  const open = (id: string) => set({ open: id });
  return (
    <div className="sections" aria-busy={isOld}>
      <Total found={found} period={search.period === "custom" ? `${search.from ?? "…"} – ${search.last ?? "…"}` : periodName(search.period ?? "90d")} onOpen={() => open("total")} />
      {first && second && <Comparison one={first} other={second} name={name} onClose={() => set({ compare: undefined })} />}
      {(by || bucket) && rows.length === 0 && <Empty title={t("Nothing in this period")}>{t("Choose a longer period, or remove a filter.")}</Empty>}
      {rows.length > 0 && (
        <section className="card insight-split" aria-label={t("Split")}>
          <Charts found={found} rows={rows} onOpen={open} />
          <Table found={found} rows={rows} name={name} chosen={String(search.compare ?? "")} onChoose={(compare) => set({ compare })} onOpen={open} />
        </section>
      )}
      {opened && (
        <Records
          figure={opened}
          title={`${measureName(found.measure)} · ${name(opened)}`}
          measure={found.measure}
          unit={unit}
          by={by}
          zone={zone}
          onClose={() => set({ open: undefined })}
        />
      )}
    </div>
  );
}

function Total({ found, period, onOpen }: { found: InsightRead; period: string; onOpen: () => void }) {
  const { total, unit } = found;
  return (
    <section className="card card-body insight-total" aria-label={t("Total")}>
      <div className="insight-head">
        <h2>{measureName(found.measure)} <span className="faint">{period}</span></h2>
        <Button kind="quiet" className="no-print" onClick={() => window.print()}>{t("Print")}</Button>
      </div>
      <p className="insight-figure number">
        <button type="button" className="link" data-total={total.value ?? ""} title={t("Open the records")} onClick={onOpen}>{shown(total.value, unit)}</button>
        <span className="faint">{[between(total, unit), total.numerator !== null && total.denominator !== null ? t("{n} of {of}", { n: unit === "cents" || unit === "ratio" ? shown(total.numerator, "cents") : number(total.numerator), of: unit === "ratio" ? shown(total.denominator, "cents") : shown(total.denominator, "count") }) : ""].filter(Boolean).join(" · ")}</span>
      </p>
      <p>{t(found.definition)}</p>
      {doubts(total).map((one) => <p key={one} className="notice notice-warn">{one}</p>)}
      <p className="faint">{t("As of {time}", { time: when(found.as_of, found.timezone) })} · {t("Attribution rules, version {version}", { version: found.rules_version })} · {found.timezone}</p>
    </section>
  );
}

function Charts({ found, rows, onOpen }: { found: InsightRead; rows: FigureRead[]; onOpen: (id: string) => void }) {
  const { by, bucket, unit, timezone: zone } = found;
  const shape = unit === "count" || unit === "cents" ? "bars" : "interval";
  const format = (value: number) => tick(value, unit);
  if (!bucket && by === "hour_of_week") return <Heat rows={rows} unit={unit} label={`${measureName(found.measure)}: ${dimensionName(by)}`} onOpen={onOpen} />;
  if (!bucket && by) {
    const marks = rows.slice(0, MOST_BARS).map((one) => markOf(one, keyName(by, one), unit));
    return (
      <figure>
        <GroupChart marks={marks} label={`${measureName(found.measure)}: ${dimensionName(by)}`} shape={shape} format={format} onOpen={onOpen} />
        {rows.length > MOST_BARS && <figcaption className="faint">{t("The chart has the first {n} groups; the table has all.", { n: MOST_BARS })}</figcaption>}
      </figure>
    );
  }
  if (!bucket) return null;
  const series = new Map<string, TimeMark[]>();
  const names = new Map<string, string>();
  for (const one of rows) {
    const key = one.key ?? "";
    names.set(key, by ? keyName(by, one) : measureName(found.measure));
    const at = Date.parse(one.bucket_start!);
    series.set(key, [...(series.get(key) ?? []), { ...markOf(one, bucketDate(at, bucket, zone), unit), at }]);
  }
  const common = { shape, format, onOpen, length: LENGTH[bucket], dateOf: (at: number) => bucketDate(at, bucket, zone) } as const;
  const shownSeries = [...series].sort(([, one], [, other]) => other.length - one.length).slice(0, MOST_SERIES);
  if (shownSeries.length === 1 && !by) return <figure><TimeChart {...common} marks={shownSeries[0]![1]} label={`${measureName(found.measure)}, ${bucketName(bucket)}`} /></figure>;
  const highest = Math.max(...shownSeries.flatMap(([, marks]) => marks.map((one) => one.high ?? one.value ?? 0)), 1e-9);
  return (
    <div className="insight-series">
      {shownSeries.map(([key, marks]) => (
        <figure key={key}>
          <figcaption>{names.get(key)}</figcaption>
          <TimeChart {...common} marks={marks} label={names.get(key)!} isShort domain={[0, highest]} />
        </figure>
      ))}
      {series.size > MOST_SERIES && <p className="faint">{t("The chart has the first {n} groups; the table has all.", { n: MOST_SERIES })}</p>}
    </div>
  );
}

type TableProps = { found: InsightRead; rows: FigureRead[]; name: (one: FigureRead) => string; chosen: string; onChoose: (keys: string | undefined) => void; onOpen: (id: string) => void };

function Table({ found, rows, name, chosen, onChoose, onOpen }: TableProps) {
  const { unit, by, bucket } = found;
  const [isLong, setLong] = useState(false);
  const mayCompare = unit === "rate" && rows.length > 1;
  const hasParts = rows.some((one) => one.denominator !== null);
  const keys = chosen ? chosen.split("~") : [];
  const choose = (id: string) => {
    const next = keys.includes(id) ? keys.filter((one) => one !== id) : [...keys.slice(-1), id];
    onChoose(next.length ? next.join("~") : undefined);
  };
  const [upper, lower] = unit === "ratio" ? (["cents", "cents"] as const) : unit === "cents" ? (["cents", "count"] as const) : (["count", "count"] as const);
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="table insight-table" aria-label={t("Figures")}>
        <thead>
          <tr>
            {mayCompare && <th className="no-print">{t("Compare")}</th>}
            <th>{by && !bucket ? dimensionName(by) : bucket && !by ? t("Period") : t("Group")}</th>
            <th className="end">{measureName(found.measure)}</th>
            {hasParts && <><th className="end">{t("Counted")}</th><th className="end">{t("Of")}</th></>}
            {unit === "rate" && <th>{t("With its interval")}</th>}
            <th><span className="hidden">{t("Note")}</span></th>
          </tr>
        </thead>
        <tbody>
          {(isLong ? rows : rows.slice(0, MOST_ROWS)).map((one) => (
            <tr key={idOf(one)} data-row={idOf(one)} className={one.enough ? undefined : "insight-thin"}>
              {mayCompare && <td className="no-print"><input type="checkbox" aria-label={t("Compare {name}", { name: name(one) })} checked={keys.includes(idOf(one))} onChange={() => choose(idOf(one))} /></td>}
              <td>{name(one)}</td>
              <td className="end">
                <button type="button" className="link" aria-label={t("{value}: open the records of {name}", { value: shown(one.value, unit), name: name(one) })} onClick={() => onOpen(idOf(one))}>
                  {shown(one.value, unit)}
                </button>
              </td>
              {hasParts && <><td className="end">{shown(one.numerator, upper)}</td><td className="end">{shown(one.denominator, lower)}</td></>}
              {unit === "rate" && <td className="number">{between(one, unit)}</td>}
              <td className="insight-note">{doubts(one).join(" ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {mayCompare && <p className="insight-hint faint no-print">{t("Choose two rows to compare them.")}</p>}
      {!isLong && rows.length > MOST_ROWS && <p className="insight-hint"><Button onClick={() => setLong(true)}>{t("Show all {n}", { n: rows.length })}</Button></p>}
    </div>
  );
}
