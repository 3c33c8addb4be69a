/**
 * Live events of the service. Each browser has one stream, because a browser allows only six
 * connections per host. The tab that has the Web Lock reads the stream, and sends each event to the
 * other tabs over a BroadcastChannel.
 */
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { noticeServiceTime } from "./clock";
import { authorize, currentSession, onSession } from "./session";

export type LiveState = "off" | "connecting" | "live" | "behind";
export type LiveEvent = {
  type: string;
  subject_id: string | null;
  campaign_id: string | null;
  timestamp?: string;
  data: Record<string, unknown>;
};
type Note = { event: LiveEvent } | { state: LiveState; since: number } | { last: string } | { ask: true } | { hurry: true };

const AGAIN_MS = 2_000;
const GATHER_MS = 400;
const SILENT_MS = 40_000;
/** Shortest time between two reads of the shown data while events arrive continuously. */
const CALM_MS = 2_000;

let state: LiveState = "off";
let since = Date.now();
let last: string | null = null;
let leads = false;
let hurry: () => void = () => undefined;
let cut: () => void = () => undefined;
const listeners = new Set<() => void>();
const followers = new Set<(event: LiveEvent) => void>();
const returns = new Set<() => void>();
const channel = new BroadcastChannel("crm-live");

function become(next: LiveState, announce = leads): void {
  if (next !== state) {
    state = next;
    since = Date.now();
    for (const one of listeners) one();
    if (next === "live") for (const one of returns) one();
  }
  if (announce) channel.postMessage({ state, since } satisfies Note);
}

export function useLive(): LiveState {
  return useSyncExternalStore(
    (changed) => (listeners.add(changed), () => listeners.delete(changed)),
    () => state,
  );
}

export const liveSince = (): number => since;

export const isLive = (): boolean => state === "live";

/** Call `back` each time the stream becomes live. Return a function that cancels this. */
export function onLive(back: () => void): () => void {
  returns.add(back);
  return () => returns.delete(back);
}

export function onEvent(follower: (event: LiveEvent) => void): () => void {
  followers.add(follower);
  return () => followers.delete(follower);
}

/** Make the tab that reads the stream connect now, without the usual pause. */
export function connectNow(): void {
  if (leads) hurry();
  else channel.postMessage({ hurry: true } satisfies Note);
}

function hand(event: LiveEvent): void {
  noticeServiceTime(event.timestamp);
  for (const one of followers) one(event);
}

channel.onmessage = ({ data: note }: MessageEvent<Note>) => {
  if ("event" in note) hand(note.event);
  else if ("last" in note) last = note.last;
  else if ("ask" in note) leads && channel.postMessage({ state, since } satisfies Note);
  else if ("hurry" in note) leads && hurry();
  else if (!leads) {
    since = note.since;
    become(note.state, false);
  }
};

/** Read one stream until it ends. */
async function read(signal: AbortSignal): Promise<void> {
  const token = await authorize();
  if (!token) throw new Error("no token: the network is away");
  const headers: Record<string, string> = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
  if (last) headers["Last-Event-ID"] = last;
  const answer = await fetch("/v1/events", { headers, signal });
  if (answer.status === 403) return become("off");
  if (!answer.ok || !answer.body) throw new Error(String(answer.status));
  become("live");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  cut = () => void reader.cancel().catch(() => undefined);
  let waiting = "";
  for (;;) {
    const silence = setTimeout(cut, SILENT_MS);
    const { done, value } = await reader.read();
    clearTimeout(silence);
    if (done) return;
    const frames = (waiting + value).split("\n\n");
    waiting = frames.pop() ?? "";
    for (const frame of frames) take(frame);
  }
}

const ID = /^id: ?(.*)$/m;
const DATA = /^data: ?(.*)$/m;
const RESET = /^event: ?reset$/m;

function take(frame: string): void {
  const id = ID.exec(frame)?.[1];
  if (id) channel.postMessage({ last: (last = id) } satisfies Note);
  const text = DATA.exec(frame)?.[1];
  const isReset = RESET.test(frame);
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
        if (!navigator.onLine) become("behind");
      } catch {
        if (!signal.aborted) become("behind");
      }
    }
    await new Promise<void>((done) => {
      hurry = done;
      setTimeout(done, AGAIN_MS);
    });
  }
}

/** Receive live events while the user is signed in. The lock decides which tab reads the stream. */
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
  // A lost network does not end the stream, but the browser detects it at once. End the stream.
  window.addEventListener("offline", () => leads && (cut(), become("behind")));
  window.addEventListener("online", connectNow);
  // Timers of a background tab run late. So a tab that becomes visible asks for a connection now.
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && state === "behind" && connectNow());
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
      // An event of presence (who views a conversation) changes no stored data.
      if (event.type === "conversation.presence") return [];
      return [["conversations"], ["today"], ["conversation", conversation ?? id]];
    case "campaign":
      return [["campaign", campaign ?? id], ["campaigns"], ["today"]];
    case "import":
      return [["import", id], ["imports"], ["lists"], ["tags"]];
    case "contact":
      return [["contacts"], ["contact", contact ?? id]];
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

/** Read changed data again, 400 ms after the first event and then at most every two seconds. */
export function refreshByEvents(cache: QueryClient): () => void {
  let keys = new Map<string, (string | null)[]>();
  let timer = 0;
  let flushed = 0;
  const flush = () => {
    timer = 0;
    flushed = Date.now();
    const now = [...keys.values()];
    keys = new Map();
    // A read in progress may have started before the event, so start the read again.
    for (const queryKey of now) void cache.invalidateQueries({ queryKey });
  };
  return onEvent((event) => {
    if (event.type === "reset") return void cache.invalidateQueries();
    for (const key of keysOf(event)) keys.set(key.join("/"), key);
    if (keys.size) timer ||= window.setTimeout(flush, Math.max(GATHER_MS, flushed + CALM_MS - Date.now()));
  });
}
