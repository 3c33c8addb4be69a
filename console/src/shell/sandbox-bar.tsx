/**
 * The bar of the sandbox, which sends no real message. In the bar, a user can move the clock, act
 * as a person and add faults.
 */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { data } from "../api/client";
import { getSandboxClock, listSandboxFaults, moveSandboxClock } from "../api/generated";
import { setServiceTime } from "../clock";
import { currentZone, when } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Button } from "../ui/parts";
import { Popover } from "../ui/popover";
import { fail, say } from "../ui/toasts";
import { instantOf } from "../ui/zoned";

const People = lazy(() => import("./sandbox-people").then((one) => ({ default: one.SandboxPeople })));
const Faults = lazy(() => import("./sandbox-faults").then((one) => ({ default: one.SandboxFaults })));

const isSandbox = () => document.documentElement.dataset.sandbox === "true";
const steps = (): [string, string][] => [["PT1H", t("1 hour")], ["PT12H", t("12 hours")], ["P1D", t("1 day")], ["P7D", t("1 week")]];

function Clock() {
  const cache = useQueryClient();
  const [isMoving, setMoving] = useState(false);
  const [to, setTo] = useState("");
  const { data: clock } = useQuery({
    queryKey: ["sandbox-clock"],
    queryFn: async () => {
      const found = await data(getSandboxClock({ throwOnError: true }));
      setServiceTime(found.now);
      return found;
    },
    refetchInterval: isMoving ? 1_000 : 60_000,
  });
  const move = async (body: { advance: string } | { to: string }) => {
    setMoving(true);
    try {
      await moveSandboxClock({ body, throwOnError: true });
      let found = await data(getSandboxClock({ query: { wait: 60 }, throwOnError: true }));
      while (found.status === "moving") found = await data(getSandboxClock({ query: { wait: 60 }, throwOnError: true }));
      setServiceTime(found.now);
      await cache.invalidateQueries();
      say(t("The sandbox clock has moved."));
    } catch (error) {
      fail(error);
    } finally {
      setMoving(false);
    }
  };
  const failure = isMoving ? clock?.move?.failure : null;
  return (
    <div className="sandbox-clock">
      <span data-part="sandbox-clock">{clock ? when(clock.now) : "…"}</span>
      <span className="faint" role="status">{isMoving ? (failure ?? t("Moving")) : t("Move the clock by")}</span>
      {steps().map(([step, name]) => (
        <button key={step} type="button" disabled={isMoving} onClick={() => void move({ advance: step })}>{name}</button>
      ))}
      <Popover button={t("To a time")} className="sandbox-button">
        {(close) => (
          <form className="sandbox-to" onSubmit={(event) => (event.preventDefault(), close(), void move({ to: instantOf(to, currentZone()).toISOString() }))}>
            <label>
              {t("Move the clock to ({zone})", { zone: currentZone() })}
              <input type="datetime-local" required value={to} onChange={(event) => setTo(event.target.value)} />
            </label>
            <Button type="submit" kind="main" disabled={!to || isMoving}>{t("Move")}</Button>
          </form>
        )}
      </Popover>
    </div>
  );
}

export function SandboxBar() {
  const [open, setOpen] = useState<"people" | "faults" | null>(null);
  const mayControl = isSandbox() && may("admin");
  const faults = useQuery({
    queryKey: ["sandbox-faults"],
    queryFn: () => data(listSandboxFaults({ query: { limit: 100 }, throwOnError: true })),
    enabled: mayControl,
    staleTime: 60_000,
    retry: false,
  });
  const broken = faults.data?.data.length ?? 0;
  if (!isSandbox()) return null;
  return (
    <aside className="sandbox" aria-label={t("Sandbox")}>
      <p>
        <strong>{t("Sandbox")}</strong> <span>{t("Nothing is really sent; the people are simulated.")}</span>
      </p>
      {mayControl && (
        <>
          <Clock />
          <div className="sandbox-clock">
            <button type="button" onClick={() => setOpen("people")}>{t("People")}</button>
            <button type="button" onClick={() => setOpen("faults")}>
              {broken ? t("{n, plural, one {# fault} other {# faults}}", { n: broken }) : t("Faults")}
            </button>
          </div>
        </>
      )}
      <Suspense>
        {open === "people" && <People onClose={() => setOpen(null)} />}
        {open === "faults" && <Faults onClose={() => setOpen(null)} />}
      </Suspense>
    </aside>
  );
}
