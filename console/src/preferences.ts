/** Theme, language and time zone of the signed-in user. The API stores these preferences. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { data } from "./api/client";
import { readPreferences, updatePreferences, type PreferencesUpdate, type Theme } from "./api/generated";
import { setZone } from "./format";
import { guessLanguage, speak } from "./i18n";

const THEME = "crm-theme";

/** Apply a theme, and store it in this browser, because a page needs it before the API responds. */
export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
}

export function startTheme(): void {
  applyTheme((localStorage.getItem(THEME) as Theme | null) ?? "system");
}

/**
 * Store the language of the browser if the user has never stored preferences. Call this after a
 * sign-in. Without it, the default of the API would replace the language of the sign-in screen.
 */
export async function storeFirstLanguage(): Promise<void> {
  try {
    const { updated_at } = await data(readPreferences({ throwOnError: true }));
    if (updated_at === null) await updatePreferences({ body: { language: guessLanguage() }, throwOnError: true });
  } catch {
    // The user is signed in and can choose a language. So a failure is not worth a message.
  }
}

export function usePreferences() {
  const cache = useQueryClient();
  const query = useQuery({
    queryKey: ["preferences"],
    queryFn: () => data(readPreferences({ throwOnError: true })),
    staleTime: Infinity,
  });
  const found = query.data;
  useEffect(() => {
    if (!found) return;
    applyTheme(found.theme);
    setZone(found.timezone);
    void speak(found.language);
  }, [found]);
  const change = async (body: PreferencesUpdate) => {
    if (found) cache.setQueryData(["preferences"], { ...found, ...body });
    cache.setQueryData(["preferences"], await data(updatePreferences({ body, throwOnError: true })));
  };
  return { preferences: found, change };
}
