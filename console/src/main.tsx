import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { setUpClient, shareTagged } from "./api/client";
import { ApiProblem } from "./api/problem";
import { flushDrafts, forgetAllDrafts } from "./drafts";
import { guessLanguage, speak, t } from "./i18n";
import { isLive, onLive, startLive } from "./live";
import { startTheme } from "./preferences";
import { startPresence } from "./presence";
import { router } from "./routes";
import { beforeSignOut, currentSession, onSession, startSession } from "./session";
import { fail } from "./ui/toasts";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";

const STALE_AGAIN_MS = 60_000;
let saidAt = -STALE_AGAIN_MS;

/** Report that shown data could not be read again. Without a stream, a bar already reports it. */
function saySoIfStale(error: Error, hasData: boolean): void {
  const isRefused = error instanceof ApiProblem && error.status < 500;
  if (!hasData || isRefused || !isLive() || performance.now() - saidAt < STALE_AGAIN_MS) return;
  saidAt = performance.now();
  fail(t("A part of this screen could not be read again, so it may be old. Reload the page if this stays."));
}

const cache = new QueryClient({
  queryCache: new QueryCache({ onError: (error, query) => saySoIfStale(error, query.state.data !== undefined) }),
  defaultOptions: {
    queries: {
      staleTime: 15_000,
      structuralSharing: shareTagged,
      retry: (failures, error) => !(error instanceof ApiProblem && error.status < 500) && failures < 2,
    },
    // Without a network, a change fails at once. A delayed change could send a message too late.
    mutations: { networkMode: "always" },
  },
});

startTheme();
setUpClient();

const session = startSession();
let was = currentSession().state;
onSession(() => {
  const { state } = currentSession();
  if (was === "in" && state === "out") {
    forgetAllDrafts();
    void router.invalidate().then(() => cache.clear());
  }
  was = state;
});

// The first screen waits until the session and the language are known.
void Promise.all([session, speak(guessLanguage())]).then(() => {
  startLive();
  startPresence();
  onLive(() => void flushDrafts());
  // Repeat the reads that failed while the service was down. The stream reports all later changes.
  onLive(() => void cache.refetchQueries({ type: "active", predicate: ({ state }) => !!state.error && !(state.error instanceof ApiProblem && state.error.status < 500) }));
  beforeSignOut(flushDrafts);
  createRoot(document.getElementById("root")!).render(
    <StrictMode>
      <QueryClientProvider client={cache}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
});
