/** Formats of numbers, money, phone numbers and times, in the user's language and time zone. */
import { now } from "./clock";
import { language, t } from "./i18n";

const browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
let zone: string | undefined;

export function setZone(name: string | null): void {
  zone = name ?? undefined;
}

export function currentZone(): string {
  return zone ?? browserZone;
}

/** Formatters are slow to create, and each table row needs one. So each one is created once. */
const made = new Map<string, unknown>();
function once<T>(name: string, make: () => T): T {
  const known = made.get(name) as T | undefined;
  if (known) return known;
  const fresh = make();
  made.set(name, fresh);
  return fresh;
}

function numbers(style: Intl.NumberFormatOptions = {}): Intl.NumberFormat {
  return once(`number ${language()} ${JSON.stringify(style)}`, () => new Intl.NumberFormat(language(), style));
}

export const count = (value: number): string => numbers().format(value);

/** Format a rate: "0.0312" becomes "3.1%". Return a dash if there is no rate. */
export function rate(value: string | number | null | undefined, digits = 1): string {
  if (value === null || value === undefined) return "–";
  const style: Intl.NumberFormatOptions = { style: "percent", maximumFractionDigits: digits };
  return numbers(style).format(Number(value));
}

export function dollars(value: string | number): string {
  const style: Intl.NumberFormatOptions = { style: "currency", currency: "USD", maximumFractionDigits: 3 };
  return numbers({ ...style, minimumFractionDigits: 2 }).format(Number(value));
}

/** Format +16175550142 as (617) 555-0142. Return a number of another country as it is. */
export function phone(value: string | null | undefined): string {
  if (!value) return "–";
  const parts = value.match(/^\+1(\d{3})(\d{3})(\d{4})$/);
  return parts ? `(${parts[1]}) ${parts[2]}-${parts[3]}` : value;
}

export function personName(one: {
  first_name?: string | null;
  last_name?: string | null;
  company?: string | null;
  phone?: string;
}): string {
  const name = [one.first_name, one.last_name].filter(Boolean).join(" ");
  return name || one.company || phone(one.phone);
}

const ZONED = { hour: "numeric", minute: "2-digit", timeZoneName: "short" } as const;
const DATED = { month: "short", day: "numeric" } as const;
const STYLES = {
  number: { dateStyle: "short" },
  date: DATED,
  dateOfYear: { ...DATED, year: "numeric" },
  time: ZONED,
  dateAndTime: { ...DATED, ...ZONED },
  dateOfYearAndTime: { ...DATED, year: "numeric", ...ZONED },
  year: { year: "numeric" },
} satisfies Record<string, Intl.DateTimeFormatOptions>;
const DAY_MS = 86_400_000;

function formatted(at: Date | number, style: keyof typeof STYLES, timeZone = currentZone()): string {
  return once(`${style} ${language()} ${timeZone}`, () => new Intl.DateTimeFormat(language(), { ...STYLES[style], timeZone })).format(at);
}

/** Format a time with its time zone. Include the date if the time is not today. */
export function when(text: string, timeZone = currentZone()): string {
  const at = new Date(text);
  const is = now();
  // A day with a clock change has 25 hours. So a time more than 25 hours away is not today.
  const isNear = Math.abs(at.getTime() - is) < DAY_MS + 3_600_000;
  if (isNear && formatted(at, "number", timeZone) === formatted(is, "number", timeZone)) return formatted(at, "time", timeZone);
  const isThisYear = formatted(at, "year", timeZone) === formatted(is, "year", timeZone);
  return formatted(at, isThisYear ? "dateAndTime" : "dateOfYearAndTime", timeZone);
}

/**
 * Format a time for dense rows: "3m ago", "2h ago", "4d ago", and after a week the date. The
 * tooltip shows the full time.
 */
export function ago(text: string): string {
  const minutes = Math.round((now() - new Date(text).getTime()) / 60_000);
  const style = { numeric: "always", style: "narrow" } as const;
  if (minutes === 0) return t("now");
  const relative = once(`relative ${language()}`, () => new Intl.RelativeTimeFormat(language(), style));
  if (Math.abs(minutes) < 60) return relative.format(-minutes, "minute");
  if (Math.abs(minutes) < 24 * 60) return relative.format(-Math.round(minutes / 60), "hour");
  if (Math.abs(minutes) < 7 * 24 * 60) return relative.format(-Math.round(minutes / 1440), "day");
  return formatted(new Date(text), "date");
}

export function day(text: string): string {
  return formatted(new Date(text), "dateOfYear");
}
