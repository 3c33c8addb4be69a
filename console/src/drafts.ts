/**
 * Drafts of answers to people. The server stores them. Until the server has confirmed a draft, this
 * browser stores a copy under the id of the user who wrote the draft. So a draft survives a reload,
 * a sign-out, a restart of the service and a lost network. No other user sees the draft.
 */
import { useSyncExternalStore } from "react";
import { data } from "./api/client";
import { deleteDraft, getDraft, writeDraft } from "./api/generated";
import { ApiProblem } from "./api/problem";
import { currentSession } from "./session";

/**
 * In state `kept`, the server has stored the draft. In state `here`, only this browser has stored
 * it, until the service responds again.
 */
export type DraftState = "loading" | "kept" | "saving" | "here";
type Draft = { text: string; state: DraftState; saved: string | null; timer: number; work: Promise<void> };

const SAVE_AFTER_MS = 700;
const AGAIN_MS = 5_000;
const EMPTY: Draft = { text: "", state: "loading", saved: null, timer: 0, work: Promise.resolve() };

const drafts = new Map<string, Draft>();
/** Conversations in which an answer is being sent. Its text must not be saved as a draft again. */
const leaving = new Set<string>();
/**
 * Number of answers sent, by conversation. If the number changes while a draft is read, the draft
 * that arrives is out of date.
 */
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

/** Read the draft of a conversation. Text that only this browser has takes priority over it. */
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

/** Store the text that the user has written so far, and save it on the server after a pause. */
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

/** Save a draft on the server. First wait for the end of an earlier save of this draft. */
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

/** Stop saving the draft, and wait for a save in progress. Call this before an answer is sent. */
export async function holdDraft(id: string): Promise<void> {
  leaving.add(id);
  await drafts.get(id)?.work;
}

/** Make the text of an answer a draft again, because the answer could not be sent. */
export function releaseDraft(id: string): void {
  leaving.delete(id);
  if (copyOf(id) !== null) schedule(id, 0);
}

/** Remove the draft of a sent answer, as the server has done. Text that was added later stays. */
export function forgetDraft(id: string, sent: string): void {
  leaving.delete(id);
  left.set(id, (left.get(id) ?? 0) + 1);
  const now = drafts.get(id) ?? EMPTY;
  clearTimeout(now.timer);
  if (now.text !== sent) return void set(id, { saved: "", timer: 0 });
  keepCopy(id, null);
  set(id, { text: "", saved: "", state: "kept", timer: 0 });
}

/** Save the drafts that only this browser has: when the network is back, and before a sign-out. */
export async function flushDrafts(): Promise<void> {
  const of = prefix();
  if (!of) return;
  // Read these drafts again: no read has succeeded yet, so the server may have a draft.
  for (const [id, one] of drafts) if (one.saved === null && !one.text) void loadDraft(id);
  const ids = Object.keys(localStorage).filter((key) => key.startsWith(of)).map((key) => key.slice(of.length));
  await Promise.all(ids.map(async (id) => {
    if (!drafts.get(id)) set(id, { text: copyOf(id) ?? "", state: "here" });
    clearTimeout(drafts.get(id)?.timer);
    await save(id);
  }));
}

/** Remove all drafts from memory, so that another user who signs in does not see them. */
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
