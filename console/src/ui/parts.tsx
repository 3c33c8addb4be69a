/** Small components that all screens use. */
import { useEffect, useId, useState, type ButtonHTMLAttributes, type ReactNode } from "react";
import { sentenceOf, ApiProblem } from "../api/problem";
import { useShift } from "../clock";
import { ago, when } from "../format";
import { t } from "../i18n";
import { Icon, type IconName } from "./icons";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & {
  kind?: "main" | "plain" | "quiet" | "danger";
  icon?: IconName;
  busy?: boolean;
};

/** Ignore the second click of a double click, so that an action runs only once. */
function once(press: ButtonProps["onClick"]): ButtonProps["onClick"] {
  return (event) => {
    if (event.detail > 1) event.preventDefault();
    else press?.(event);
  };
}

export function Button({ kind = "plain", icon, busy, children, disabled, ...rest }: ButtonProps) {
  const isAct = rest.type === "submit" || busy !== undefined || kind === "main" || kind === "danger";
  return (
    <button type="button" {...rest} onClick={isAct ? once(rest.onClick) : rest.onClick} className={`button button-${kind} ${rest.className ?? ""}`} disabled={disabled || busy} aria-busy={busy}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

type FieldProps = {
  label: string;
  error?: string | undefined;
  hint?: ReactNode;
  hideLabel?: boolean;
  children: (attributes: { id: string; "aria-invalid"?: true; "aria-describedby"?: string }) => ReactNode;
};

/** Show a label, its control, and a hint or an error. Screen readers read them together. */
export function Field({ label, error, hint, hideLabel, children }: FieldProps) {
  const id = useId();
  const note = error || hint ? `${id}-note` : undefined;
  return (
    <div className="field">
      <label htmlFor={id} className={hideLabel ? "hidden" : undefined}>
        {label}
      </label>
      {children({ id, ...(error ? { "aria-invalid": true } : {}), ...(note ? { "aria-describedby": note } : {}) })}
      {note && (
        <p id={note} className={error ? "field-error" : "field-hint"}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}

export function Time({ at, relative, zone }: { at: string | null | undefined; relative?: boolean; zone?: string }) {
  useShift();
  if (!at) return <span className="faint">–</span>;
  // Format the full time only when the pointer is on the element, because a table has many times.
  if (relative) return <time dateTime={at} onMouseEnter={({ currentTarget }) => (currentTarget.title = when(at, zone))}>{ago(at)}</time>;
  return <time dateTime={at}>{when(at, zone)}</time>;
}

/** Ask once before an action that is probably a mistake. The button carries out the action. */
export function Doubt({ text, act, onAct, busy }: { text: string; act: string; onAct: () => void; busy?: boolean }) {
  return (
    <p className="notice notice-warn" role="alert">
      {text}{" "}
      <button type="button" className="link" disabled={busy} onClick={onAct}>{act}</button>
    </p>
  );
}

export type Tone = "neutral" | "good" | "bad" | "warn" | "info" | "hold";

export function Badge({ tone = "neutral", children }: { tone?: Tone; children: ReactNode }) {
  return <span className={`badge badge-${tone}`}>{children}</span>;
}

export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {action}
    </div>
  );
}

/** Show why a query failed, and a button to try again. */
export function Failed({ error, again }: { error: unknown; again?: () => void }) {
  const isForbidden = error instanceof ApiProblem && error.status === 403;
  const isGone = error instanceof ApiProblem && error.status === 404;
  const title = isForbidden ? t("You may not see this") : isGone ? t("This does not exist, or it was deleted.") : t("This could not be loaded");
  return (
    <div className="empty" role="alert">
      <h2>{title}</h2>
      <p>{isForbidden ? t("Your role does not include it. Ask an owner of the account for it.") : isGone ? t("Check the address, or go on from the start.") : sentenceOf(error)}</p>
      {again && !isForbidden && !isGone && <Button onClick={again}>{t("Try again")}</Button>}
    </div>
  );
}

/** Show grey lines, but only if the response takes longer than 150 ms. */
export function Loading({ lines = 6 }: { lines?: number }) {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150);
    return () => clearTimeout(timer);
  }, []);
  if (!isLate) return null;
  return (
    <div className="loading" role="status">
      <span className="hidden">{t("Loading")}</span>
      {Array.from({ length: lines }, (_, line) => (
        <div key={line} className="loading-line" style={{ inlineSize: `${90 - ((line * 17) % 40)}%` }} />
      ))}
    </div>
  );
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · crm-api`;
  }, [title]);
}

/** Show the head of a screen: its name, facts about it, and buttons for what can be done. */
export function PageHead({ title, children, actions, before }: { title: string; children?: ReactNode; actions?: ReactNode; before?: ReactNode }) {
  useTitle(title);
  return (
    <header className="page-head">
      {before}
      <h1>{title}</h1>
      {children}
      {actions && <div className="page-actions">{actions}</div>}
    </header>
  );
}

export function Meter({ value, of, label, tone = "info" }: { value: number; of: number; label: string; tone?: Tone }) {
  const part = of > 0 ? Math.min(value / of, 1) : 0;
  return (
    <div className="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={of} aria-valuenow={Math.min(value, of)}>
      <span className={`fill-${tone}`} style={{ inlineSize: `${part * 100}%` }} />
    </div>
  );
}

/** Let the keyboard scroll a box, but only while the content of the box is wider than the box. */
export function scrolls(box: HTMLElement | null): (() => void) | undefined {
  if (!box) return undefined;
  const look = () => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  look();
  const watcher = new ResizeObserver(look);
  watcher.observe(box);
  if (box.firstElementChild) watcher.observe(box.firstElementChild);
  return () => watcher.disconnect();
}
