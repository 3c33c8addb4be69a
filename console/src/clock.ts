/** The time of the service. In the sandbox, it can be far ahead of the time of this machine. */
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

/**
 * Return how many ms the service's clock is ahead of this machine's clock. The component renders
 * again when this number changes.
 */
export function useShift(): number {
  return useSyncExternalStore((changed) => (watchers.add(changed), () => void watchers.delete(changed)), () => ahead);
}

/**
 * Return the present minute of the service's clock, for texts such as "3 min ago". The component
 * renders again each minute, and when the sandbox clock moves.
 */
export function useMinute(): number {
  return useSyncExternalStore(watch, () => Math.floor(now() / 60_000));
}

/** Return the time of the service, in milliseconds since 1970. */
export const now = (): number => Date.now() + ahead;

/** Set the clock to a time that the service reported. A difference below 30 seconds is ignored. */
export function setServiceTime(instant: string): void {
  const difference = new Date(instant).getTime() - Date.now();
  set(Math.abs(difference) < 30_000 ? 0 : difference);
}

/**
 * Move the clock forward to the time of an event that is more than a minute ahead, because no event
 * is in the future.
 */
export function noticeServiceTime(instant: string | undefined): void {
  const at = instant ? new Date(instant).getTime() : 0;
  if (at > now() + 60_000) set(at - Date.now());
}
