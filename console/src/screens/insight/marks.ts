/** Functions that make marks of a chart from rows of the API: their order, values and sentences. */
import type { FigureRead, InsightDimension, InsightUnit } from "../../api/generated";
import { day } from "../../format";
import { language, t } from "../../i18n";
import type { Mark } from "../../ui/charts";
import { keyName, number, shown } from "./words";

const ORDERED: InsightDimension[] = ["step", "year_built_band", "value_band", "hour", "weekday", "hour_of_week"];
const VALUE_BANDS = ["under 250,000", "250,000-499,999", "500,000-749,999", "750,000-999,999", "1,000,000 and more"];

/** Return the id of a figure, which the address and the chart use. */
export const idOf = (one: Pick<FigureRead, "key" | "bucket_start">): string => `${one.bucket_start ?? ""}|${one.key ?? ""}`;

function place(by: InsightDimension, key: string): number {
  if (by === "value_band") return VALUE_BANDS.indexOf(key);
  if (by === "year_built_band") return key === "before 1900" ? 0 : Number(key.slice(0, 4));
  if (by === "hour_of_week") return Number(key.replace("/", ""));
  return Number(key);
}

/**
 * Sort the groups. Groups with a natural order, such as hours, keep that order. Other groups start
 * with the highest figure.
 */
export function inOrder(rows: FigureRead[], by: InsightDimension): FigureRead[] {
  const rank = (one: FigureRead) => (ORDERED.includes(by) ? place(by, one.key!) : -Number(one.value ?? -Infinity));
  return [...rows].sort((one, other) => {
    if (one.key === null || other.key === null) return Number(one.key === null) - Number(other.key === null);
    return rank(one) - rank(other) || one.key.localeCompare(other.key);
  });
}

export function between(one: FigureRead, unit: InsightUnit): string {
  return one.low === null || one.high === null ? "" : t("between {low} and {high}", { low: shown(one.low, unit), high: shown(one.high, unit) });
}

/** Return why a figure is uncertain: it has too few records, or records that are too recent. */
export function doubts(one: FigureRead): string[] {
  const found = [];
  if (!one.enough) found.push(one.enough_at ? t("Not enough data yet; probably from {date}.", { date: day(one.enough_at) }) : t("Not enough data yet."));
  if (one.unripe > 0) found.push(t("{n, plural, one {# record is} other {# records are}} so young that the figure may still change.", { n: one.unripe }));
  return found;
}

export function ofWhole(one: FigureRead): string {
  return one.numerator !== null && one.denominator !== null ? t("{n} of {of}", { n: number(one.numerator), of: number(one.denominator) }) : "";
}

const real = (value: string | number | null) => (value === null ? null : Number(value));

export function markOf(one: FigureRead, name: string, unit: InsightUnit): Mark {
  const text = [`${name}: ${shown(one.value, unit)}`, between(one, unit), unit === "rate" ? ofWhole(one) : ""].filter(Boolean).join(", ");
  return { id: idOf(one), name, value: real(one.value), low: real(one.low), high: real(one.high), enough: one.enough, text };
}

export const LENGTH = { day: 86_400_000, week: 7 * 86_400_000, month: 30.4 * 86_400_000 };

export function bucketDate(at: number, bucket: "day" | "week" | "month", zone: string): string {
  const style = bucket === "month" ? ({ month: "short", year: "2-digit" } as const) : ({ month: "short", day: "numeric" } as const);
  return new Intl.DateTimeFormat(language(), { ...style, timeZone: zone }).format(at);
}

export function groupName(one: FigureRead, by: InsightDimension | null, bucket: "day" | "week" | "month" | null, zone: string): string {
  const parts = [];
  if (bucket && one.bucket_start) parts.push(bucketDate(Date.parse(one.bucket_start), bucket, zone));
  if (by) parts.push(keyName(by, one));
  return parts.join(" · ") || t("Total");
}
