/** The time of the service. In the sandbox its clock may be far ahead of this machine's. */
let ahead = 0;

/** Milliseconds since 1970 by the clock of the service. */
export const now = (): number => Date.now() + ahead;

/** Follow an exact reading of the service's clock. */
export function setServiceTime(instant: string): void {
  const difference = new Date(instant).getTime() - Date.now();
  ahead = Math.abs(difference) < 30_000 ? 0 : difference;
}

/** Follow an event: it cannot be from the future, so the clock is at least as far. */
export function noticeServiceTime(instant: string | undefined): void {
  const at = instant ? new Date(instant).getTime() : 0;
  if (at > now() + 60_000) ahead = at - Date.now();
}
