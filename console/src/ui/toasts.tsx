/** Short notices beside the content of the screen: what happened, or what failed and what to do. */
import { useSyncExternalStore } from "react";
import { sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Icon } from "./icons";

type Toast = { id: number; text: string; kind: "done" | "failed"; undo?: () => void };

const SHOWN_MS = 6_000;
const UNDO_MS = 12_000;
const FAILED_MS = 30_000;
let toasts: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(changed: Toast[]): void {
  toasts = changed;
  for (const one of listeners) one();
}

export function dismiss(id: number): void {
  set(toasts.filter((one) => one.id !== id));
}

/**
 * Show what happened. `lasts` (in ms) is for an action that can be undone only for a shorter time
 * than usual.
 */
export function say(text: string, { lasts, ...options }: { undo?: () => void; lasts?: number } = {}): void {
  const id = next++;
  set([...toasts.slice(-2), { id, text, kind: "done", ...options }]);
  setTimeout(() => dismiss(id), lasts ?? (options.undo ? UNDO_MS : SHOWN_MS));
}

/** Show a failure. It stays for half a minute, or until the user closes it. */
export function fail(error: unknown): void {
  const id = next++;
  set([...toasts.slice(-2), { id, text: typeof error === "string" ? error : sentenceOf(error), kind: "failed" }]);
  setTimeout(() => dismiss(id), FAILED_MS);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (changed) => (listeners.add(changed), () => listeners.delete(changed)),
    () => toasts,
  );
  return (
    <section className="toasts" aria-label={t("Messages")} aria-live="polite">
      {shown.map((one) => (
        <div key={one.id} className={`toast toast-${one.kind}`} role={one.kind === "failed" ? "alert" : undefined}>
          <Icon name={one.kind === "failed" ? "warning" : "check"} />
          <p>{one.text}</p>
          {one.undo && (
            <button type="button" className="link" onClick={() => (one.undo?.(), dismiss(one.id))}>
              {t("Undo")}
            </button>
          )}
          <button type="button" className="icon-button" aria-label={t("Close")} onClick={() => dismiss(one.id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </section>
  );
}
