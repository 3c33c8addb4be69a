/** The data of the calendar: appointments, campaigns and planned messages of a period. */
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { data } from "../api/client";
import {
  getCalendar, listAppointments, updateAppointment,
  type AppointmentRead, type AppointmentUpdate, type CalendarCampaign, type CalendarOccurrence,
} from "../api/generated";
import { currentZone } from "../format";
import { may } from "../session";
import { dateOf, localOf, plusDays, weekdayOf } from "../ui/zoned";

export type View = "month" | "week" | "day" | "list";
export type Period = { from: string; to: string; days: string[] };

const LISTED_DAYS = 30;
const MOST_PAGES = 5;

/** Return the dates that a view shows for a date. `to` is exclusive. */
export function periodOf(view: View, date: string): Period {
  const from = view === "month" ? `${date.slice(0, 8)}01` : view === "week" ? plusDays(date, -weekdayOf(date)) : date;
  const [year = 0, month = 0] = from.split("-").map(Number);
  const length = view === "month" ? new Date(Date.UTC(year, month, 0)).getUTCDate() : { week: 7, day: 1, list: LISTED_DAYS }[view];
  const days = Array.from({ length }, (_, at) => plusDays(from, at));
  return { from, to: plusDays(from, length), days };
}

/** Return the date to show after one step forwards or back. */
export function turned(view: View, date: string, by: 1 | -1): string {
  if (view !== "month") return plusDays(date, by * { week: 7, day: 1, list: LISTED_DAYS }[view]);
  const [year = 0, month = 0] = date.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1 + by, 1)).toISOString().slice(0, 10);
}

async function readAppointments(period: Period, zone: string, who: string | undefined, signal: AbortSignal): Promise<{ rows: AppointmentRead[]; isPartial: boolean }> {
  const rows: AppointmentRead[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MOST_PAGES; page++) {
    const query = { from: period.from, to: period.to, timezone: zone, limit: 200, ...(who ? { assignee: who as "me" } : {}), ...(cursor ? { cursor } : {}) };
    const found = await data(listAppointments({ query, signal, throwOnError: true }));
    rows.push(...found.data);
    if (!found.next_cursor) return { rows, isPartial: false };
    cursor = found.next_cursor;
  }
  return { rows, isPartial: true };
}

export type Day = {
  date: string;
  appointments: AppointmentRead[];
  campaigns: CalendarCampaign[];
  occurrences: CalendarOccurrence[];
  planned: number;
};

export function useCalendar(period: Period, who: string | undefined) {
  const zone = currentZone();
  const appointments = useQuery({
    queryKey: ["appointments", "period", period.from, period.to, zone, who ?? ""],
    enabled: may("sales:read"),
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => readAppointments(period, zone, who, signal),
  });
  const campaigns = useQuery({
    queryKey: ["campaigns", "calendar", period.from, period.to, zone],
    enabled: may("campaigns:read"),
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => data(getCalendar({ query: { from: period.from, to: period.to, timezone: zone }, signal, throwOnError: true })),
  });
  const days: Day[] = period.days.map((date) => ({
    date,
    appointments: (appointments.data?.rows ?? []).filter((one) => dateOf(one.starts_at, zone) === date),
    campaigns: (campaigns.data?.campaigns ?? []).filter((one) => dateOf(one.starts_at, zone) === date),
    occurrences: (campaigns.data?.occurrences ?? []).filter((one) => !one.campaign_id && dateOf(one.at, zone) === date),
    planned: (campaigns.data?.days ?? []).filter((one) => one.date === date).reduce((sum, one) => sum + one.planned, 0),
  }));
  const failed = [appointments, campaigns].find((one) => one.isError);
  return {
    days,
    zone,
    isPending: (may("sales:read") && appointments.isPending) || (may("campaigns:read") && campaigns.isPending),
    isPartial: appointments.data?.isPartial || campaigns.data?.is_partial || false,
    error: failed?.error,
    again: () => void failed?.refetch(),
  };
}

/**
 * Return a function that changes an appointment. The calendar shows the change at once. If the API
 * refuses the change, the calendar shows the old values again.
 */
export function useMove() {
  const cache = useQueryClient();
  return async (one: AppointmentRead, body: AppointmentUpdate): Promise<AppointmentRead> => {
    const kept = cache.getQueriesData<{ rows: AppointmentRead[]; isPartial: boolean }>({ queryKey: ["appointments", "period"] });
    const { allow_conflict: _allowed, ...fields } = body;
    for (const [key, found] of kept) {
      if (found) cache.setQueryData(key, { ...found, rows: found.rows.map((row) => (row.id === one.id ? ({ ...row, ...fields } as AppointmentRead) : row)) });
    }
    try {
      return await data(updateAppointment({ path: { appointment_id: one.id }, body, throwOnError: true }));
    } catch (error) {
      for (const [key, found] of kept) cache.setQueryData(key, found);
      throw error;
    } finally {
      void cache.invalidateQueries({ queryKey: ["appointments"] });
    }
  };
}

/** Return the minutes since midnight, in the local time of the zone. */
export function minuteOf(at: string, zone: string): number {
  const [hour = 0, minute = 0] = localOf(at, zone).slice(11).split(":").map(Number);
  return hour * 60 + minute;
}

export const lasts = (one: { starts_at: string; ends_at: string }): number => Math.round((Date.parse(one.ends_at) - Date.parse(one.starts_at)) / 60_000);
