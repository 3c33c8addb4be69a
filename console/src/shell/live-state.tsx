/** The indicator that shows whether the screen gets live events, and what to do if it does not. */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, useSyncExternalStore } from "react";
import { when } from "../format";
import { t } from "../i18n";
import { connectNow, liveSince, useLive, type LiveState as State } from "../live";
import { Button } from "../ui/parts";
import { Popover } from "../ui/popover";

const LATE_MS = 3_000;

function useOnline(): boolean {
  return useSyncExternalStore(
    (changed) => {
      window.addEventListener("online", changed);
      window.addEventListener("offline", changed);
      return () => {
        window.removeEventListener("online", changed);
        window.removeEventListener("offline", changed);
      };
    },
    () => navigator.onLine,
  );
}

const sinceText = () => when(new Date(liveSince()).toISOString());

function explained(state: State, isOnline: boolean): string {
  if (!isOnline) return t("This device has no network. Drafts are kept; nothing can be sent until it is back.");
  switch (state) {
    case "live":
      return t("Messages and changes of others appear by themselves.");
    case "behind":
      return t("The service does not answer. What you see may be old. The console connects again by itself every two seconds and then reads what was missed.");
    case "connecting":
      return t("The connection is being made.");
    default:
      return t("Your role sees no live events. Reload to see what is new.");
  }
}

export function LiveState() {
  const cache = useQueryClient();
  const state = useLive();
  const isOnline = useOnline();
  const names = {
    off: t("Not live"),
    connecting: t("Connecting"),
    live: t("Live"),
    behind: isOnline ? t("Reconnecting, not current since {time}", { time: sinceText() }) : t("Offline since {time}", { time: sinceText() }),
  };
  return (
    <div className={`live live-${state}`}>
      <span aria-hidden="true" />
      <Popover button={<span role="status">{names[state]}</span>} className="live-button">
        {(close) => (
          <div className="live-panel">
            <p>{explained(state, isOnline)}</p>
            <Button
              onClick={() => {
                close();
                connectNow();
                void cache.invalidateQueries();
              }}
            >
              {state === "live" ? t("Read everything again") : t("Connect now")}
            </Button>
          </div>
        )}
      </Popover>
    </div>
  );
}

/** Show a bar above the screen if its data have been out of date for three seconds. */
export function BehindNotice() {
  const state = useLive();
  const isOnline = useOnline();
  const isBehind = state === "behind" || !isOnline;
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    if (!isBehind) return setLate(false);
    const timer = setTimeout(() => setLate(true), LATE_MS);
    return () => clearTimeout(timer);
  }, [isBehind]);
  if (!isBehind || !isLate) return null;
  return (
    <div className="behind" role="alert">
      <p>{explained("behind", isOnline)}</p>
      <button type="button" className="link" onClick={connectNow}>{t("Connect now")}</button>
    </div>
  );
}
