/** Translations of texts. The English text is its id; `locales/es.json` has the Spanish texts. */
import { i18n } from "@lingui/core";
import { compileMessage } from "@lingui/message-utils/compileMessage";
import { useSyncExternalStore } from "react";

export type Language = "en" | "es";

// A screen shows several hundred texts. lingui would compile a text each time it is shown.
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

/** Return the text in the current language. `values` fills `{name}` and ICU plurals in the text. */
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

/** Return the current language. The component renders again when the language changes. */
export function useLanguage(): Language {
  return useSyncExternalStore(
    (changed) => (listeners.add(changed), () => listeners.delete(changed)),
    language,
  );
}
