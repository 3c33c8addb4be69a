/**
 * Live events: one stream per browser. The tab that holds the Web Lock reads the stream and hands
 * each event to the others over a BroadcastChannel; a browser allows only six connections per host.
 */
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { authorize, currentSession, onSession } from "./session";

export type LiveState = "off" | "connecting" | "live" | "behind";
export type LiveEvent = {
  type: string;
  subject_id: string | null;
  campaign_id: string | null;
  data: Record<string, unknown>;
};
type Note = { event: LiveEvent } | { state: LiveState; since: number } | { last: string } | { ask: true };

const AGAIN_MS = 2_000;
const GATHER_MS = 400;
const SILENT_MS = 40_000;

let state: LiveState = "off";
let since = Date.now();
let last: string | null = null;
let leads = false;
const listeners = new Set<() => void>();
const followers = new Set<(event: LiveEvent) => void>();
const channel = new BroadcastChannel("crm-live");

function become(next: LiveState, tell = leads): void {
  if (next !== state) {
    state = next;
    since = Date.now();
    for (const one of listeners) one();
  }
  if (tell) channel.postMessage({ state, since } satisfies Note);
}

export function useLive(): LiveState {
  return useSyncExternalStore(
    (changed) => (listeners.add(changed), () => listeners.delete(changed)),
    () => state,
  );
}

export const liveSince = (): number => since;

export function onEvent(follower: (event: LiveEvent) => void): () => void {
  followers.add(follower);
  return () => followers.delete(follower);
}

function hand(event: LiveEvent): void {
  for (const one of followers) one(event);
}

channel.onmessage = ({ data: note }: MessageEvent<Note>) => {
  if ("event" in note) hand(note.event);
  else if ("last" in note) last = note.last;
  else if ("ask" in note) leads && channel.postMessage({ state, since } satisfies Note);
  else if (!leads) {
    since = note.since;
    become(note.state, false);
  }
};

/** Read one stream until it ends. */
async function read(signal: AbortSignal): Promise<void> {
  const token = await authorize();
  if (!token) return;
  const headers: Record<string, string> = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
  if (last) headers["Last-Event-ID"] = last;
  const answer = await fetch("/v1/events", { headers, signal });
  if (answer.status === 403) return become("off");
  if (!answer.ok || !answer.body) throw new Error(String(answer.status));
  become("live");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const silence = setTimeout(() => void reader.cancel(), SILENT_MS);
    const { done, value } = await reader.read();
    clearTimeout(silence);
    if (done) return;
    const frames = (waiting + value).split("\n\n");
    waiting = frames.pop() ?? "";
    for (const frame of frames) take(frame);
  }
}

function take(frame: string): void {
  const field = (name: string) => frame.match(new RegExp(`^${name}: ?(.*)$`, "m"))?.[1];
  const id = field("id");
  if (id) channel.postMessage({ last: (last = id) } satisfies Note);
  const text = field("data");
  const isReset = field("event") === "reset";
  if (!text && !isReset) return;
  const event = isReset ? { type: "reset", subject_id: null, campaign_id: null, data: {} } : JSON.parse(text!);
  channel.postMessage({ event } satisfies Note);
  hand(event as LiveEvent);
}

async function lead(signal: AbortSignal): Promise<void> {
  leads = true;
  while (!signal.aborted) {
    if (currentSession().state === "in") {
      become(state === "off" ? "connecting" : state);
      try {
        await read(signal);
      } catch {
        if (!signal.aborted) become("behind");
      }
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

/** Take part in the stream while signed in; the lock decides which tab reads it. */
export function startLive(): void {
  let stop: AbortController | null = null;
  const follow = () => {
    const isIn = currentSession().state === "in";
    if (isIn && !stop) {
      stop = new AbortController();
      const { signal } = stop;
      channel.postMessage({ ask: true } satisfies Note);
      if (navigator.locks) {
        navigator.locks.request("crm-live", { signal }, () => lead(signal)).catch(() => undefined);
      } else void lead(signal);
    } else if (!isIn && stop) {
      stop.abort();
      stop = null;
      leads = false;
      last = null;
      become("off", false);
    }
  };
  onSession(follow);
  follow();
}

function keysOf(event: LiveEvent): (string | null)[][] {
  const { data, subject_id: id, campaign_id: campaign } = event;
  const contact = (data.contact_id as string | undefined) ?? null;
  const conversation = (data.conversation_id as string | undefined) ?? null;
  switch (event.type.split(".")[0]) {
    case "message":
    case "call":
      return [["conversations"], ["conversation", conversation], ["messages", conversation], ["timeline", contact], ["today"], ...(campaign ? [["campaign", campaign]] : [])];
    case "conversation":
      return [["conversations"], ["today"], ["conversation", (data.conversation_id as string | undefined) ?? id]];
    case "campaign":
      return [["campaign", campaign ?? id], ["campaigns"], ["today"]];
    case "import":
      return [["import", id], ["imports"]];
    case "contact":
      return [["contacts"]];
    case "opt_out":
    case "opt_in":
      return [["contact", contact ?? id], ["timeline", contact ?? id], ["conversations"]];
    case "appointment":
      return [["appointments"], ["today"]];
    case "alert":
      return [["alerts"], ["today"]];
    case "task":
      return [["tasks"], ["today"]];
    default:
      return [];
  }
}

/** Read again what an event has changed, at most every 400 ms. */
export function refreshByEvents(cache: QueryClient): () => void {
  let keys = new Map<string, (string | null)[]>();
  let timer = 0;
  const flush = () => {
    timer = 0;
    const now = [...keys.values()];
    keys = new Map();
    for (const queryKey of now) void cache.invalidateQueries({ queryKey });
  };
  return onEvent((event) => {
    if (event.type === "reset") return void cache.invalidateQueries();
    for (const key of keysOf(event)) keys.set(key.join("/"), key);
    timer ||= window.setTimeout(flush, GATHER_MS);
  });
}
