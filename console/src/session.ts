/**
 * The session of the user. The access token is only in memory. The refresh token is in a cookie
 * that no script can read. All tabs share one session: a tab sends its access token to the other
 * tabs over a BroadcastChannel. Only one tab at a time renews the tokens, because a renewal revokes
 * the previous refresh token.
 */
import { useSyncExternalStore } from "react";

export type Me = { id: string; name: string; email: string | null; role: string | null; scopes: string[] };
export type Session =
  | { state: "starting" }
  | { state: "out"; why?: "ended" | "left" }
  | { state: "in"; me: Me };

type Token = { text: string; until: number };
type Note = { kind: "ask" } | { kind: "token"; token: Token } | { kind: "out"; why: "ended" | "left" };

// How long a new tab waits for the token of another tab. Without Web Locks (an address without
// TLS), the new tab does not know whether another tab has a token, so the time is short.
const PEERS_ANSWER_MS = navigator.locks ? 2_000 : 120;
/** A tab with a token holds this lock in shared mode. So a new tab sees that a token exists. */
const HAS_TOKEN = "crm-has-token";
const RENEW_BEFORE_MS = 120_000;
const LEAVE_MS = 2_000;

let session: Session = { state: "starting" };
let token: Token | null = null;
let timer = 0;
let received: (() => void) | undefined;
let release: (() => void) | undefined;
const leavers = new Set<() => Promise<void>>();
const listeners = new Set<() => void>();
const channel = new BroadcastChannel("crm-session");

function set(next: Session): void {
  session = next;
  for (const one of listeners) one();
}

export function useSession(): Session {
  return useSyncExternalStore(
    (changed) => (listeners.add(changed), () => listeners.delete(changed)),
    () => session,
  );
}

export function currentSession(): Session {
  return session;
}

export function onSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Call `leaver` before the user is signed out, while the session still exists. */
export function beforeSignOut(leaver: () => Promise<void>): void {
  leavers.add(leaver);
}

export function may(scope: string): boolean {
  if (session.state !== "in") return false;
  const { scopes } = session.me;
  return scopes.includes("admin") || scopes.includes(scope);
}

channel.onmessage = ({ data: note }: MessageEvent<Note>) => {
  if (note.kind === "ask" && token) channel.postMessage({ kind: "token", token } satisfies Note);
  if (note.kind === "token") {
    // A late response of another tab may contain a token that this tab has already replaced.
    if (!token || note.token.until > token.until) keep(note.token);
    if (session.state === "out") void enter();
  }
  if (note.kind === "out" && session.state === "in") leave(note.why);
};

function keep(next: Token): void {
  token = next;
  received?.();
  if (!release) {
    const held = new Promise<void>((done) => (release = done));
    void navigator.locks?.request(HAS_TOKEN, { mode: "shared" }, () => held);
  }
  clearTimeout(timer);
  const wait = next.until - Date.now() - RENEW_BEFORE_MS - Math.random() * 20_000;
  timer = window.setTimeout(() => void renewAfter(next.text), Math.max(wait, 5_000));
}

function leave(why: "ended" | "left"): void {
  token = null;
  release?.();
  release = undefined;
  clearTimeout(timer);
  set({ state: "out", why });
}

function csrf(): string | undefined {
  return document.cookie.match(/(?:^|; )crm_csrf=([^;]+)/)?.[1];
}

async function take(answer: Response): Promise<string> {
  const body = (await answer.json()) as { access_token: string; expires_in: number };
  const next = { text: body.access_token, until: Date.now() + body.expires_in * 1000 };
  keep(next);
  channel.postMessage({ kind: "token", token: next } satisfies Note);
  return next.text;
}

async function locked<T>(name: string, work: () => Promise<T>): Promise<T> {
  return navigator.locks ? navigator.locks.request(name, work) : work();
}

async function renew(): Promise<string | null> {
  const proof = csrf();
  if (!proof) return null;
  const answer = await fetch("/v1/auth/refresh", {
    method: "POST",
    headers: { "X-CSRF-Token": decodeURIComponent(proof) },
  });
  // An error of a starting or busy service does not mean that the session has ended.
  if (answer.status >= 500 || answer.status === 429) throw new Error(String(answer.status));
  return answer.ok ? take(answer) : null;
}

/** Renew the access token, unless it was renewed already. Return null if there is no new token. */
export async function renewAfter(old: string): Promise<string | null> {
  return locked("crm-renew", async () => {
    // Another call may have renewed the token, or the user may have signed in again.
    if (token?.text !== old) return token?.text ?? null;
    let renewed: string | null;
    try {
      renewed = await renew();
    } catch {
      return null; // The network or the service is down; the session may still be valid.
    }
    if (!renewed && token?.text === old) {
      channel.postMessage({ kind: "out", why: "ended" } satisfies Note);
      leave("ended");
    }
    return renewed;
  });
}

export async function authorize(): Promise<string | null> {
  if (token && token.until - Date.now() < 10_000) return renewAfter(token.text);
  return token?.text ?? null;
}

async function enter(): Promise<void> {
  if (!token) return set({ state: "out" });
  const answer = await fetch("/v1/auth/me", { headers: { Authorization: `Bearer ${token.text}` } });
  if (!answer.ok) return set({ state: "out" });
  set({ state: "in", me: (await answer.json()) as Me });
}

/** Wait until another tab has sent its token. If no tab has a token, do not wait. */
async function askOtherTabs(): Promise<void> {
  const locks = await navigator.locks?.query();
  if (locks && !locks.held?.some((one) => one.name === HAS_TOKEN)) return;
  const answer = new Promise<void>((done) => (received = done));
  channel.postMessage({ kind: "ask" } satisfies Note);
  await Promise.race([answer, new Promise((done) => setTimeout(done, PEERS_ANSWER_MS))]);
}

/** Find out, when the page starts, whether this browser has a session. */
export async function startSession(): Promise<void> {
  if (!csrf()) return set({ state: "out" });
  await askOtherTabs();
  try {
    // After a computer wakes up, the token of another tab may have expired.
    if (token) await authorize();
    else await locked("crm-renew", async () => token ?? (await renew()));
    await enter();
  } catch {
    set({ state: "out" });
  }
}

export class SignInRefused extends Error {}

export async function signIn(email: string, password: string): Promise<void> {
  const answer = await fetch("/v1/auth/token?cookie=true", {
    method: "POST",
    body: new URLSearchParams({ username: email, password }),
  });
  if (!answer.ok) {
    const problem = (await answer.json().catch(() => ({}))) as { detail?: string; code?: string };
    throw new SignInRefused(problem.code === "wrong_credentials" ? "wrong" : problem.detail);
  }
  await take(answer);
  await enter();
}

export async function signOut(everywhere: boolean): Promise<void> {
  await Promise.race([Promise.allSettled([...leavers].map((one) => one())), new Promise((done) => setTimeout(done, LEAVE_MS))]);
  const proof = csrf();
  const headers: Record<string, string> = proof ? { "X-CSRF-Token": decodeURIComponent(proof) } : {};
  if (everywhere && token) {
    await fetch("/v1/auth/sign-out-everywhere", {
      method: "POST",
      headers: { Authorization: `Bearer ${token.text}` },
    });
  }
  await fetch("/v1/auth/sign-out", { method: "POST", headers });
  channel.postMessage({ kind: "out", why: "left" } satisfies Note);
  leave("left");
}
