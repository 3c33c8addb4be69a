/** The parameters in the address of Insight: the figures, their people and their period. */
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

/** The present time of the service: in the sandbox its clock may have been moved. */
export function useNow(): number {
  const isSandbox = document.documentElement.dataset.sandbox === "true" && may("admin");
  const clock = useQuery({ queryKey: ["sandbox-clock"], queryFn: () => data(getSandboxClock({ throwOnError: true })), enabled: isSandbox });
  return clock.data ? new Date(clock.data.now).getTime() : Date.now();
}

/** The day, such as "2026-11-29", of an instant in a time zone. */
export function dayIn(zone: string, at: number): string {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(at);
}

export function plusDays(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** The period of the API: `to` is exclusive, while `last` of the address is the last day that counts. */
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

/** The filters by campaign, line, list and step, as parameters of the API. */
export function filtersOf(search: InsightSearch): Pick<Question, "campaign_id" | "line_id" | "list_id"> {
  return {
    ...(search.campaign ? { campaign_id: search.campaign } : {}),
    ...(search.line ? { line_id: search.line } : {}),
    ...(search.list ? { list_id: search.list } : {}),
  };
}
