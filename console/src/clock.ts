/** The time of the service. In the sandbox its clock may be far ahead of this machine's. */
import { useSyncExternalStore } from "react";

const LOOK_MS = 15_000;

let ahead = 0;
const watchers = new Set<() => void>();

function watch(changed: () => void): () => void {
  const timer = setInterval(changed, LOOK_MS);
  watchers.add(changed);
  return () => (clearInterval(timer), void watchers.delete(changed));
}

function set(difference: number): void {
  ahead = difference;
  for (const one of watchers) one();
}

/** How many ms the service's clock is ahead; used by what depends on the day, such as "today". */
export function useShift(): number {
  return useSyncExternalStore((changed) => (watchers.add(changed), () => void watchers.delete(changed)), () => ahead);
}

/** The present minute, for texts such as "3 min ago"; also changes when the sandbox clock moves. */
export function useMinute(): number {
  return useSyncExternalStore(watch, () => Math.floor(now() / 60_000));
}

/** Milliseconds since 1970 by the clock of the service. */
export const now = (): number => Date.now() + ahead;

/** Set the clock to an exact time of the service. */
export function setServiceTime(instant: string): void {
  const difference = new Date(instant).getTime() - Date.now();
  set(Math.abs(difference) < 30_000 ? 0 : difference);
}

/** Move the clock to the time of an event if it is later: an event is never in the future. */
export function noticeServiceTime(instant: string | undefined): void {
  const at = instant ? new Date(instant).getTime() : 0;
  if (at > now() + 60_000) set(at - Date.now());
}
