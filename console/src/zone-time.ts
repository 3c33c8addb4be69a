/** Wall clocks of time zones: what a person's clock shows, and which instant that is. */

/** "2026-11-30T09:00" on the wall clock of `zone`, for an `<input type="datetime-local">`. */
export function wallClock(at: Date, zone: string): string {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  }).formatToParts(at);
  const of = (type: string) => parts.find((one) => one.type === type)?.value ?? "00";
  return `${of("year")}-${of("month")}-${of("day")}T${of("hour")}:${of("minute")}`;
}

/** The instant when the wall clock of `zone` shows `text`. An hour that a clock change skips becomes the hour after it. */
export function instantOf(text: string, zone: string): Date {
  const wanted = new Date(`${text}:00Z`).getTime();
  let guess = wanted;
  // Twice: the first guess may be on the other side of a clock change.
  for (let turn = 0; turn < 2; turn++) guess += wanted - new Date(`${wallClock(new Date(guess), zone)}:00Z`).getTime();
  return new Date(guess);
}

/** Nine in the morning on the wall clock of `zone`, so many days after the day of `at`. */
export function morningAfter(at: Date, zone: string, days: number): Date {
  const day = new Date(`${wallClock(at, zone).slice(0, 10)}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() + days);
  return instantOf(`${day.toISOString().slice(0, 10)}T09:00`, zone);
}
