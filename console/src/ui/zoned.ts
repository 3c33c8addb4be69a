/** Conversion between instants and local times in the form of `datetime-local` fields. */

type Wall = { year: number; month: number; day: number; hour: number; minute: number };

const styles = new Map<string, Intl.DateTimeFormat>();

function style(zone: string): Intl.DateTimeFormat {
  let found = styles.get(zone);
  if (!found) {
    const parts = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" } as const;
    found = new Intl.DateTimeFormat("en-CA", { timeZone: zone, hourCycle: "h23", ...parts });
    styles.set(zone, found);
  }
  return found;
}

/** Return the local time of the zone at an instant, as numbers. */
export function wallOf(at: Date | string | number, zone: string): Wall {
  const parts = Object.fromEntries(style(zone).formatToParts(new Date(at)).map((one) => [one.type, Number(one.value)]));
  return parts as Wall;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** Return the local time of the zone, such as "2026-11-29T09:30". */
export function localOf(at: Date | string | number, zone: string): string {
  const wall = wallOf(at, zone);
  return `${wall.year}-${two(wall.month)}-${two(wall.day)}T${two(wall.hour)}:${two(wall.minute)}`;
}

/** Return the local date of the zone, such as "2026-11-29". */
export function dateOf(at: Date | string | number, zone: string): string {
  return localOf(at, zone).slice(0, 10);
}

function offset(at: number, zone: string): number {
  const wall = wallOf(at, zone);
  return Date.UTC(wall.year, wall.month - 1, wall.day, wall.hour, wall.minute) - Math.floor(at / 60_000) * 60_000;
}

/** Return the instant of a local time. A local time that a clock change skips is moved forward. */
export function instantOf(local: string, zone: string): Date {
  const [date = "", time = "00:00"] = local.split("T");
  const [year = 1970, month = 1, day = 1] = date.split("-").map(Number);
  const [hour = 0, minute = 0] = time.split(":").map(Number);
  const wanted = Date.UTC(year, month - 1, day, hour, minute);
  const first = wanted - offset(wanted, zone);
  const second = wanted - offset(first, zone);
  return new Date(Math.max(localOf(second, zone) === local.slice(0, 16) ? second : first, second));
}

/** Return the date `days` days after a date of the form "2026-11-29". */
export function plusDays(date: string, days: number): string {
  const [year = 1970, month = 1, day = 1] = date.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1, day + days)).toISOString().slice(0, 10);
}

/** Return the weekday of a date, from 0 for Monday to 6 for Sunday. */
export function weekdayOf(date: string): number {
  return (new Date(`${date}T00:00:00Z`).getUTCDay() + 6) % 7;
}

/** Return 09:00 in the local time of the zone, `days` days after the day of `at`. */
export function morningAfter(at: Date, zone: string, days: number): Date {
  return instantOf(`${plusDays(dateOf(at, zone), days)}T09:00`, zone);
}
