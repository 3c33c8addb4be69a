/** Figures with their intervals; each opens into the records behind it. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { client } from "../api/generated/client.gen";
import { getInsight, listMeasures, type FigureRead, type InsightDimension, type InsightUnit } from "../api/generated";
import { count, currentZone, day, dollars, rate } from "../format";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button, Failed, Loading, PageHead, scrolls } from "../ui/parts";
import { plain } from "../ui/words";
import "./insight.css";

const SPANS: [string, number][] = [["30", 30], ["90", 90], ["365", 365]];

function shown(value: string | number | null | undefined, unit: InsightUnit): string {
  if (value === null || value === undefined) return "–";
  if (unit === "rate") return rate(value);
  if (unit === "cents") return dollars(Number(value) / 100);
  if (unit === "seconds") return t("{n} min", { n: count(Math.round(Number(value) / 60)) });
  if (unit === "ratio") return Number(value).toFixed(2);
  return count(Number(value));
}

export function Insight() {
  const search = useSearch({ from: "/shell/insight" });
  const navigate = useNavigate({ from: "/insight" });
  const measure = search.measure ?? "reply_rate";
  const span = SPANS.find(([name]) => name === search.days)?.[1] ?? 30;
  const [rows, setRows] = useState<FigureRead | null>(null);
  const measures = useQuery({ queryKey: ["measures"], queryFn: () => data(listMeasures({ throwOnError: true })), staleTime: Infinity });
  const from = new Date(Date.now() - span * 86_400_000).toISOString().slice(0, 10);
  const query = useQuery({
    queryKey: ["insight", measure, search.by, span],
    queryFn: () =>
      data(
        getInsight({
          query: { measure: measure as never, from, timezone: currentZone(), ...(search.by ? { by: search.by as InsightDimension } : {}) },
          throwOnError: true,
        }),
      ),
    placeholderData: (was) => was,
  });
  const known = measures.data?.data.find((one) => one.name === measure);
  const set = (change: typeof search) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true });
  const found = query.data;
  const figures = found?.rows ?? [];
  const most = Math.max(0.0001, ...figures.map((one) => Number(one.high ?? one.value ?? 0)));
  return (
    <>
      <PageHead title={t("Insight")} />
      <div className="filters">
        <select aria-label={t("Measure")} value={measure} onChange={(event) => set({ measure: event.target.value, by: undefined })}>
          {measures.data?.data.map((one) => <option key={one.name} value={one.name}>{plain(one.name)}</option>)}
        </select>
        <select aria-label={t("Split by")} value={search.by ?? ""} onChange={(event) => set({ by: event.target.value || undefined })}>
          <option value="">{t("Not split")}</option>
          {known?.by.map((one) => <option key={one} value={one}>{t("by {name}", { name: plain(one).toLowerCase() })}</option>)}
        </select>
        <select aria-label={t("Period")} value={String(span)} onChange={(event) => set({ days: event.target.value })}>
          {SPANS.map(([name]) => <option key={name} value={name}>{t("last {n} days", { n: name })}</option>)}
        </select>
      </div>
      {query.isPending ? (
        <Loading />
      ) : query.isError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : (
        found && (
          <div className="sections">
            <section className="card card-body insight-total" aria-label={t("Total")}>
              <p className="insight-figure number">
                <button type="button" className="link" onClick={() => setRows(found.total)}>{shown(found.total.value, found.unit)}</button>
                {found.total.low !== null && found.total.high !== null && found.unit === "rate" && (
                  <span className="faint">{t("between {low} and {high}", { low: shown(found.total.low, found.unit), high: shown(found.total.high, found.unit) })}</span>
                )}
              </p>
              <p>{found.definition}</p>
              {!found.total.enough && (
                <p className="notice notice-warn">
                  {found.total.enough_at ? t("Not enough data yet; probably from {date}.", { date: day(found.total.enough_at) }) : t("Not enough data yet.")}
                </p>
              )}
              <p className="faint">{t("Rules {version}", { version: found.rules_version })} · {found.timezone}</p>
            </section>
            {search.by && (
              <section className="card scroll-x" ref={scrolls} aria-label={t("Split")}>
                <table className="table insight-table">
                  <thead>
                    <tr><th>{plain(search.by)}</th><th className="end">{t("Counted")}</th><th className="end">{t("Of")}</th><th className="end">{plain(measure)}</th><th>{t("With its interval")}</th></tr>
                  </thead>
                  <tbody>
                    {figures.map((one) => (
                      <tr key={`${one.key}-${one.bucket_start}`} className={one.enough ? undefined : "insight-thin"}>
                        <td>{one.label ?? one.key ?? t("Unknown")}</td>
                        <td className="end">{one.numerator ?? "–"}</td>
                        <td className="end">{one.denominator ?? "–"}</td>
                        <td className="end"><button type="button" className="link" onClick={() => setRows(one)}>{shown(one.value, found.unit)}</button></td>
                        <td><Whisker figure={one} most={most} /></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
                {figures.length === 0 && <p className="card-body faint">{t("Nothing in this period.")}</p>}
              </section>
            )}
          </div>
        )
      )}
      {rows?.rows_url && <Rows figure={rows} onClose={() => setRows(null)} />}
    </>
  );
}

function Whisker({ figure, most }: { figure: FigureRead; most: number }) {
  if (figure.value === null) return null;
  const x = (value: string | number) => 4 + (Number(value) / most) * 172;
  return (
    <svg width={180} height={16} viewBox="0 0 180 16" aria-hidden="true">
      {figure.low !== null && figure.high !== null && <line x1={x(figure.low)} x2={x(figure.high)} y1={8} y2={8} className="interval-whisker" />}
      <circle cx={x(figure.value)} cy={8} r={4} className="interval-dot" data-value={figure.value} />
    </svg>
  );
}

function Rows({ figure, onClose }: { figure: FigureRead; onClose: () => void }) {
  const url = `${figure.rows_url}${figure.rows_url!.includes("?") ? "&" : "?"}limit=50`;
  const query = useQuery({
    queryKey: ["insight-rows", url],
    queryFn: () => data(client.get<{ 200: { data: Record<string, unknown>[] } }, unknown, true>({ url, throwOnError: true }) as Promise<{ data: { data: Record<string, unknown>[] } }>),
  });
  const found = query.data?.data ?? [];
  const names = Object.keys(found[0] ?? {}).filter((name) => !name.endsWith("_id") && name !== "id" && typeof found[0]![name] !== "object").slice(0, 6);
  return (
    <Dialog wide title={t("The records behind this figure")} onClose={onClose} footer={<Button onClick={onClose}>{t("Close")}</Button>}>
      {query.isPending && <Loading />}
      {query.isError && <Failed error={query.error} />}
      {found.length > 0 && (
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr>{names.map((name) => <th key={name}>{plain(name)}</th>)}</tr></thead>
            <tbody>
              {found.map((one, at) => <tr key={String(one.id ?? at)}>{names.map((name) => <td key={name}>{String(one[name] ?? "–")}</td>)}</tr>)}
            </tbody>
          </table>
        </div>
      )}
      {query.isSuccess && found.length === 0 && <p className="faint">{t("No record.")}</p>}
      {found.length === 50 && <p className="faint">{t("The first 50 are shown.")}</p>}
    </Dialog>
  );
}
