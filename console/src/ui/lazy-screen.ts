/** Function that loads a screen when it is first shown. If the service is down, wait for it. */
import { lazyRouteComponent as lazy } from "@tanstack/react-router";

const AGAIN_MS = 2_000;

async function serviceAnswers(): Promise<void> {
  for (;;) {
    try {
      if ((await fetch("/", { method: "HEAD", cache: "no-store" })).status < 500) return;
    } catch {
      // The network or the service is down.
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

/**
 * Load a screen like the router's function, but handle a file that cannot be loaded: wait until the
 * service responds, and load the file again. The router would reload the page, and the browser
 * would show its error page. If the file is still missing, a new version has replaced it, and the
 * router reloads the page.
 */
export const lazyRouteComponent: typeof lazy = (load, name) =>
  lazy(() => load().catch(async () => (await serviceAnswers(), load())), name);
