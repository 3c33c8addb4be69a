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

/** How far the service's clock is ahead; what shows a time of day, such as "today", follows it. */
export function useShift(): number {
  return useSyncExternalStore((changed) => (watchers.add(changed), () => void watchers.delete(changed)), () => ahead);
}

/** The present minute; what shows "3 min ago" follows it, also when the sandbox moves its clock. */
export function useMinute(): number {
  return useSyncExternalStore(watch, () => Math.floor(now() / 60_000));
}

/** Milliseconds since 1970 by the clock of the service. */
export const now = (): number => Date.now() + ahead;

/** Follow an exact reading of the service's clock. */
export function setServiceTime(instant: string): void {
  const difference = new Date(instant).getTime() - Date.now();
  set(Math.abs(difference) < 30_000 ? 0 : difference);
}

/** Follow an event: it cannot be from the future, so the clock is at least as far. */
export function noticeServiceTime(instant: string | undefined): void {
  const at = instant ? new Date(instant).getTime() : 0;
  if (at > now() + 60_000) set(at - Date.now());
}
