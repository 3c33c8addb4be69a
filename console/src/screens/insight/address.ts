/** The query parameters of the Insight screen: the figures, the filters and the period. */
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { data } from "../../api/client";
import { getSandboxClock, type GetInsightData } from "../../api/generated";
import { currentZone } from "../../format";
import type { InsightSearch } from "../../routes";
import { may } from "../../session";

export type Question = NonNullable<GetInsightData["query"]>;
export type Period = { from?: string; to?: string };

export const PERIODS = ["7d", "30d", "90d", "365d", "month", "last-month", "all", "custom"] as const;
const DAYS: Record<string, number> = { "7d": 7, "30d": 30, "90d": 90, "365d": 365 };

export function useAddress() {
  const search = useSearch({ from: "/shell/insight" });
  const navigate = useNavigate({ from: "/insight" });
  const set = (change: InsightSearch) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true, resetScroll: false });
  return { search, set };
}

/** Return the present time of the service. In the sandbox, a user may have moved its clock. */
export function useNow(): number {
  const isSandbox = document.documentElement.dataset.sandbox === "true" && may("admin");
  const clock = useQuery({ queryKey: ["sandbox-clock"], queryFn: () => data(getSandboxClock({ throwOnError: true })), enabled: isSandbox });
  return clock.data ? new Date(clock.data.now).getTime() : Date.now();
}

/** Return the day of an instant in a time zone, such as "2026-11-29". */
export function dayIn(zone: string, at: number): string {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(at);
}

export function plusDays(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/**
 * Return the period for the API. Its end `to` is exclusive, but `last` in the address is the last
 * day of the period.
 */
export function periodOf(search: InsightSearch, now: number, zone: string): Period {
  const today = dayIn(zone, now);
  const month = `${today.slice(0, 7)}-01`;
  const name = search.period ?? "90d";
  if (name === "month") return { from: month };
  if (name === "last-month") return { from: `${plusDays(month, -1).slice(0, 7)}-01`, to: month };
  if (name === "custom") {
    return { ...(search.from ? { from: search.from } : {}), ...(search.last ? { to: plusDays(search.last, 1) } : {}) };
  }
  return name === "all" ? {} : { from: plusDays(today, 1 - (DAYS[name] ?? 90)) };
}

export const zoneOf = (search: InsightSearch): string => search.zone ?? currentZone();

/** Return the filters by campaign, line and list as parameters of the API. */
export function filtersOf(search: InsightSearch): Pick<Question, "campaign_id" | "line_id" | "list_id"> {
  return {
    ...(search.campaign ? { campaign_id: search.campaign } : {}),
    ...(search.line ? { line_id: search.line } : {}),
    ...(search.list ? { list_id: search.list } : {}),
  };
}
