/** In the sandbox: nothing is really sent, and the clock can be moved. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { getSandboxClock, moveSandboxClock } from "../api/generated";
import { when } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { fail, say } from "../ui/toasts";

const isSandbox = () => document.documentElement.dataset.sandbox === "true";
const STEPS = [
  ["PT1H", "1 hour"],
  ["PT12H", "12 hours"],
  ["P1D", "1 day"],
] as const;

function Clock() {
  const cache = useQueryClient();
  const [isMoving, setMoving] = useState(false);
  const { data: clock } = useQuery({
    queryKey: ["sandbox-clock"],
    queryFn: () => data(getSandboxClock({ throwOnError: true })),
    refetchInterval: isMoving ? 1_000 : 60_000,
  });
  const move = async (advance: string) => {
    setMoving(true);
    try {
      await moveSandboxClock({ body: { advance }, throwOnError: true });
      await getSandboxClock({ query: { wait: true } as never, throwOnError: true });
      await cache.invalidateQueries();
      say(t("The sandbox clock has moved."));
    } catch (error) {
      fail(error);
    } finally {
      setMoving(false);
    }
  };
  return (
    <div className="sandbox-clock">
      <span>{clock ? when(clock.now) : "…"}</span>
      <span className="faint">{isMoving ? t("Moving") : t("Move the clock by")}</span>
      {STEPS.map(([step, name]) => (
        <button key={step} type="button" disabled={isMoving} onClick={() => void move(step)}>
          {t(name)}
        </button>
      ))}
    </div>
  );
}

export function SandboxBar() {
  if (!isSandbox()) return null;
  return (
    <aside className="sandbox" aria-label={t("Sandbox")}>
      <p>
        <strong>{t("Sandbox")}</strong> <span>{t("Nothing is really sent; the people are simulated.")}</span>
      </p>
      {may("admin") && <Clock />}
    </aside>
  );
}
