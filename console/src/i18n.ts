/** Texts: the English sentence is the id; `locales/es.json` has the Spanish ones. */
import { i18n } from "@lingui/core";
import { compileMessage } from "@lingui/message-utils/compileMessage";
import { useSyncExternalStore } from "react";

export type Language = "en" | "es";

// lingui compiles a text each time it is shown, and a screen shows several hundred texts.
const compiled = new Map<string, ReturnType<typeof compileMessage>>();
i18n.setMessagesCompiler((text) => {
  const known = compiled.get(text);
  if (known) return known;
  const made = compileMessage(text);
  compiled.set(text, made);
  return made;
});
i18n.loadAndActivate({ locale: "en", messages: {} });

const listeners = new Set<() => void>();

/** The text in the current language; `{name}` and ICU plurals take `values`. */
export function t(id: string, values?: Record<string, unknown>): string {
  return i18n._(id, values);
}

export function language(): Language {
  return i18n.locale === "es" ? "es" : "en";
}

export function guessLanguage(): Language {
  return navigator.language.startsWith("es") ? "es" : "en";
}

export async function speak(wanted: Language): Promise<void> {
  if (wanted === language()) return;
  const messages = wanted === "es" ? (await import("./locales/es.json")).default : {};
  i18n.loadAndActivate({ locale: wanted, messages });
  document.documentElement.lang = wanted;
  for (const one of listeners) one();
}

/** Render again when the language changes. */
export function useLanguage(): Language {
  return useSyncExternalStore(
    (changed) => (listeners.add(changed), () => listeners.delete(changed)),
    language,
  );
}
