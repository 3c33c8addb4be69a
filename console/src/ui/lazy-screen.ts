/** A screen is loaded when it is first shown; while the service is away, that waits. */
import { lazyRouteComponent as lazy } from "@tanstack/react-router";

const AGAIN_MS = 2_000;

async function serviceAnswers(): Promise<void> {
  for (;;) {
    try {
      if ((await fetch("/", { method: "HEAD", cache: "no-store" })).status < 500) return;
    } catch {
      // The network or the service is away.
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

/**
 * As the router's, but a file that could not be loaded is asked for again once the service answers.
 * The router alone loads the whole page again, and that is the browser's error page then. If the
 * file is still missing, because a new version has replaced it, the router's way is right.
 */
export const lazyRouteComponent: typeof lazy = (load, name) =>
  lazy(() => load().catch(async () => (await serviceAnswers(), load())), name);
