/**
 * Drafts of answers. The server keeps them; until it has confirmed one, a copy is in this browser,
 * under the id of the user who wrote it. So a draft survives a reload, a sign-out, a restarted
 * service and a lost network. It is never shown to another user.
 */
import { useSyncExternalStore } from "react";
import { data } from "./api/client";
import { deleteDraft, getDraft, writeDraft } from "./api/generated";
import { ApiProblem } from "./api/problem";
import { currentSession } from "./session";

/** `kept`: the server has it. `here`: only this browser has it until the service responds again. */
export type DraftState = "loading" | "kept" | "saving" | "here";
type Draft = { text: string; state: DraftState; saved: string | null; timer: number; work: Promise<void> };

const SAVE_AFTER_MS = 700;
const AGAIN_MS = 5_000;
const EMPTY: Draft = { text: "", state: "loading", saved: null, timer: 0, work: Promise.resolve() };

const drafts = new Map<string, Draft>();
/** Conversations whose answer is being sent. Its text must not be stored as a draft afterwards. */
const leaving = new Set<string>();
/** Number of answers sent in a conversation. A draft that was read before is out of date. */
const left = new Map<string, number>();
const listeners = new Set<() => void>();
let version = 0;

function changed(): void {
  version++;
  for (const one of listeners) one();
}

function prefix(): string | null {
  const session = currentSession();
  return session.state === "in" ? `crm-draft:${session.me.id}:` : null;
}

function copyOf(id: string): string | null {
  const of = prefix();
  return of ? localStorage.getItem(of + id) : null;
}

function keepCopy(id: string, text: string | null): void {
  const of = prefix();
  if (!of) return;
  if (text === null) localStorage.removeItem(of + id);
  else localStorage.setItem(of + id, text);
}

function set(id: string, change: Partial<Draft>): void {
  drafts.set(id, { ...(drafts.get(id) ?? EMPTY), ...change });
  changed();
}

/** Read the draft of a conversation. Unconfirmed text of this browser has priority. */
export async function loadDraft(id: string): Promise<void> {
  const known = drafts.get(id);
  if (known && known.state === "saving") return;
  const local = copyOf(id);
  if (local !== null && !drafts.get(id)?.text) set(id, { text: local, state: "here" });
  const before = left.get(id);
  try {
    const body = (await data(getDraft({ path: { conversation_id: id }, throwOnError: true }))).body ?? "";
    if (leaving.has(id) || left.get(id) !== before) return;
    const now = drafts.get(id) ?? EMPTY;
    const isOurs = copyOf(id) !== null || now.state === "saving" || now.timer !== 0;
    set(id, isOurs ? { saved: body } : { text: body, saved: body, state: "kept" });
    if (isOurs) schedule(id, 0);
  } catch {
    if (drafts.get(id)?.state === "loading") set(id, { state: "here" });
    if (copyOf(id) !== null) schedule(id, AGAIN_MS);
  }
}

/** What the user has written so far. */
export function writeHere(id: string, text: string): void {
  keepCopy(id, text);
  set(id, { text, state: "saving" });
  schedule(id, SAVE_AFTER_MS);
}

function schedule(id: string, wait: number): void {
  const now = drafts.get(id) ?? EMPTY;
  clearTimeout(now.timer);
  drafts.set(id, { ...now, timer: window.setTimeout(() => void save(id), wait) });
}

/** Save one draft on the server, after a save that is still in progress. */
async function save(id: string): Promise<void> {
  const before = drafts.get(id)?.work ?? Promise.resolve();
  const work = before.then(() => saveNow(id));
  drafts.set(id, { ...(drafts.get(id) ?? EMPTY), timer: 0, work });
  await work;
}

async function saveNow(id: string): Promise<void> {
  const text = drafts.get(id)?.text ?? "";
  if (!prefix() || leaving.has(id)) return;
  const path = { conversation_id: id };
  try {
    if (text.trim() && text !== drafts.get(id)?.saved) await writeDraft({ path, body: { body: text }, throwOnError: true });
    else if (!text.trim() && drafts.get(id)?.saved !== "") await deleteDraft({ path, throwOnError: true });
  } catch (error) {
    const isRefused = error instanceof ApiProblem && error.status >= 400 && error.status < 500 && error.status !== 401 && error.status !== 429;
    set(id, { state: "here" });
    if (!isRefused) schedule(id, AGAIN_MS);
    return;
  }
  if (drafts.get(id)?.text === text) {
    keepCopy(id, null);
    set(id, { saved: text.trim() ? text : "", state: "kept" });
  }
}

/** Before an answer is sent: stop saving, and wait for a save in progress. */
export async function holdDraft(id: string): Promise<void> {
  leaving.add(id);
  await drafts.get(id)?.work;
}

/** The answer was refused: its text is a draft again. */
export function releaseDraft(id: string): void {
  leaving.delete(id);
  if (copyOf(id) !== null) schedule(id, 0);
}

/** The message was sent: the server has deleted its draft. Text written since stays. */
export function forgetDraft(id: string, sent: string): void {
  leaving.delete(id);
  left.set(id, (left.get(id) ?? 0) + 1);
  const now = drafts.get(id) ?? EMPTY;
  clearTimeout(now.timer);
  if (now.text !== sent) return void set(id, { saved: "", timer: 0 });
  keepCopy(id, null);
  set(id, { text: "", saved: "", state: "kept", timer: 0 });
}

/** Save drafts that only this browser has: when the network is back, and before a sign-out. */
export async function flushDrafts(): Promise<void> {
  const of = prefix();
  if (!of) return;
  // It is not known yet whether the server has a draft of these conversations.
  for (const [id, one] of drafts) if (one.saved === null && !one.text) void loadDraft(id);
  const ids = Object.keys(localStorage).filter((key) => key.startsWith(of)).map((key) => key.slice(of.length));
  await Promise.all(ids.map(async (id) => {
    if (!drafts.get(id)) set(id, { text: copyOf(id) ?? "", state: "here" });
    clearTimeout(drafts.get(id)?.timer);
    await save(id);
  }));
}

/** Another user must not find these texts in memory. */
export function forgetAllDrafts(): void {
  for (const one of drafts.values()) clearTimeout(one.timer);
  drafts.clear();
  leaving.clear();
  changed();
}

export function useDraft(id: string): { text: string; state: DraftState } {
  useSyncExternalStore((one) => (listeners.add(one), () => listeners.delete(one)), () => version);
  return drafts.get(id) ?? EMPTY;
}
