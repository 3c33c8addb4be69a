/** Between an instant and what a clock in a time zone shows; `<input type="datetime-local">` has the latter. */

function shown(at: number, zone: string): string {
  // Swedish writes dates as ISO 8601 does.
  return new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" }).format(at).replace(" ", "T");
}

/** What a clock in the zone shows at an instant, as "2026-12-01T09:30". */
export function clockOf(instant: string, zone: string): string {
  return shown(Date.parse(instant), zone).slice(0, 16);
}

/** The instant at which a clock in the zone shows this, as ISO 8601 in UTC. */
export function instantOf(clock: string, zone: string): string {
  const wanted = Date.parse(`${clock}Z`);
  const offset = (at: number) => Date.parse(`${shown(at, zone)}Z`) - at;
  // The offset at the wrong instant may differ across a change of the clocks; the second one is right.
  return new Date(wanted - offset(wanted - offset(wanted))).toISOString();
}
