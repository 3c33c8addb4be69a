/**
 * Keyboard shortcuts of the screens. Each part of a screen registers its own keys. If two parts use
 * the same key, the part that registered last gets it. `?` lists the keys, and the command palette
 * offers them as actions. No single key sends a message to a person.
 */
import { useEffect, useRef } from "react";

export type Key = {
  /** One character, two characters one after the other ("g i"), or "mod+k" for Ctrl+K or ⌘K. */
  key: string;
  name: string;
  /** Undefined for a key that is only listed, for example if an input field handles the key. */
  run?: (() => unknown) | undefined;
};
type Group = { title: string; keys: Key[] };

const AGAIN_MS = 1_200;
const groups = new Set<{ current: Group }>();

/** Register keys for as long as the component is on the screen. */
export function useKeys(title: string, keys: Key[]): void {
  const group = useRef<Group>({ title, keys });
  group.current = { title, keys };
  useEffect(() => {
    groups.add(group);
    return () => void groups.delete(group);
  }, []);
}

/** Return the registered groups, the newest first. Groups with the same title become one group. */
export function keyGroups(): Group[] {
  const found = new Map<string, Key[]>();
  for (const { current } of [...groups].reverse()) found.set(current.title, [...(found.get(current.title) ?? []), ...current.keys]);
  return [...found].map(([title, keys]) => ({ title, keys })).filter((one) => one.keys.length > 0);
}

/** Return whether a letter that is typed into the element is text, and not a command. */
function isText(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && (target as HTMLInputElement).type !== "checkbox");
}

const isBusy = () => document.querySelector("dialog[open], [popover]:popover-open") !== null;

/** Start to listen to the keyboard, and return a function that stops it. Call this only once. */
export function startKeys(): () => void {
  let before = "";
  let at = 0;
  const onKey = (event: KeyboardEvent) => {
    const all = [...groups].reverse().flatMap((one) => one.current.keys);
    const take = (wanted: string): boolean => {
      const run = all.find((one) => one.key === wanted && one.run)?.run;
      if (!run) return false;
      event.preventDefault();
      run();
      return true;
    };
    if (event.isComposing || event.repeat && !/^[jk]$/.test(event.key)) return;
    if (event.ctrlKey || event.metaKey) {
      if (!event.altKey && !event.shiftKey) take(`mod+${event.key.toLowerCase()}`);
      return;
    }
    if (event.altKey || isText(event.target) || isBusy()) return;
    const pair = before && Date.now() - at < AGAIN_MS ? `${before} ${event.key}` : "";
    before = "";
    if (pair && take(pair)) return;
    if (all.some((one) => one.key.startsWith(`${event.key} `))) [before, at] = [event.key, Date.now()];
    else take(event.key);
  };
  window.addEventListener("keydown", onKey);
  return () => window.removeEventListener("keydown", onKey);
}
