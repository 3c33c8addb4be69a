/** Presence: who views a conversation or writes in it. The console also reports this user. */
import { useEffect, useSyncExternalStore } from "react";
import { reportPresence } from "./api/generated";
import { onEvent, type LiveEvent } from "./live";
import { currentSession } from "./session";
import { afterPaint } from "./ui/after-paint";

export type Visitor = { id: string; name: string; activity: "viewing" | "typing" };
type Seen = Visitor & { until: number };

const REPORT_MS = 10_000;
const LIVES_MS = 15_000;
const here = new Map<string, Map<string, Seen>>();
const listeners = new Set<() => void>();
const lists = new Map<string, Visitor[]>();
const NOBODY: Visitor[] = [];

function refresh(conversation: string): void {
  const all = [...(here.get(conversation)?.values() ?? [])].filter((one) => one.until > Date.now());
  if (all.length) lists.set(conversation, all.map(({ id, name, activity }) => ({ id, name, activity })));
  else {
    lists.delete(conversation);
    here.delete(conversation);
  }
  for (const one of listeners) one();
}

function take(event: LiveEvent): void {
  const session = currentSession();
  if (event.type !== "conversation.presence" || !event.subject_id || session.state !== "in") return;
  const { user_id: id, name, activity } = event.data as { user_id: string; name: string; activity: Visitor["activity"] };
  if (id === session.me.id) return;
  const conversation = event.subject_id;
  const seen = here.get(conversation) ?? new Map<string, Seen>();
  // Use this machine's clock, because the service's clock may be ahead.
  seen.set(id, { id, name, activity, until: Date.now() + LIVES_MS });
  here.set(conversation, seen);
  refresh(conversation);
  setTimeout(() => refresh(conversation), LIVES_MS + 50);
}

/** Start to listen to events of presence. Call this only once. */
export function startPresence(): () => void {
  return onEvent(take);
}

const subscribe = (changed: () => void) => (listeners.add(changed), () => listeners.delete(changed));

export function useVisitors(conversation: string): Visitor[] {
  return useSyncExternalStore(subscribe, () => lists.get(conversation) ?? NOBODY);
}

/**
 * Report every ten seconds that this user views the conversation or writes in it. Also report at
 * once when the user starts or stops writing.
 */
export function useReport(conversation: string, isTyping: boolean, isOn: boolean): void {
  useEffect(() => {
    if (!isOn) return;
    const report = () => {
      if (document.visibilityState !== "visible" || !navigator.onLine) return;
      const body = { activity: isTyping ? ("typing" as const) : ("viewing" as const) };
      // A lost report is harmless, because the next report follows in ten seconds.
      reportPresence({ path: { conversation_id: conversation }, body, throwOnError: true }).catch(() => undefined);
    };
    const cancel = afterPaint(report);
    const timer = setInterval(report, REPORT_MS);
    document.addEventListener("visibilitychange", report);
    return () => {
      cancel();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", report);
    };
  }, [conversation, isTyping, isOn]);
}
