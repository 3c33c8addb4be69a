/**
 * The calendar: appointments, campaigns and planned messages as a month, a week, a day or a list.
 * The address of the screen contains all choices.
 */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { data } from "../api/client";
import { getAppointment, type AppointmentRead } from "../api/generated";
import { now } from "../clock";
import { currentZone } from "../format";
import { language, t } from "../i18n";
import type { CalendarSearch } from "../routes";
import { may } from "../session";
import { Button, Empty, Failed, Loading, PageHead } from "../ui/parts";
import { dateOf } from "../ui/zoned";
import { AppointmentDialog } from "./calendar-appointment";
import { BookDialog } from "./calendar-book";
import { useColleagues } from "../colleagues";
import { periodOf, turned, useCalendar, type Day, type View } from "./calendar-data";
import { DayList, Month } from "./calendar-month";
import { Sharing } from "./calendar-sharing";
import { HourGrid } from "./calendar-week";
import "./calendar.css";

const NARROW = window.matchMedia("(max-width: 760px)");

function useNarrow(): boolean {
  return useSyncExternalStore(
    (changed) => (NARROW.addEventListener("change", changed), () => NARROW.removeEventListener("change", changed)),
    () => NARROW.matches,
  );
}

function viewNames(): [View, string][] {
  return [["month", t("Month")], ["week", t("Week")], ["day", t("Day")], ["list", t("List")]];
}

function nameOf(view: View, days: string[]): string {
  const at = (date: string) => new Date(`${date}T12:00:00Z`);
  const style = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(language(), { timeZone: "UTC", ...options });
  const first = days[0]!;
  if (view === "month") return style({ month: "long", year: "numeric" }).format(at(first));
  if (view === "day") return style({ weekday: "long", month: "long", day: "numeric", year: "numeric" }).format(at(first));
  return style({ month: "short", day: "numeric", year: "numeric" }).formatRange(at(first), at(days.at(-1)!));
}

export function Calendar() {
  const search = useSearch({ from: "/shell/calendar" });
  const navigate = useNavigate({ from: "/calendar" });
  const set = (change: Partial<CalendarSearch>) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true });
  const isNarrow = useNarrow();
  const zone = currentZone();
  const today = dateOf(now(), zone);
  const view = search.show ?? "month";
  const date = search.date ?? today;
  const period = periodOf(view, date);
  const colleagues = useColleagues();
  const found = useCalendar(period, search.who);
  const name = nameOf(view, period.days);
  if (search.part === "sharing" && may("sales:read")) return <Sharing colleagues={colleagues.all} onBack={() => set({ part: undefined })} />;
  const open = (one: AppointmentRead) => set({ appointment: one.id });
  const book = may("sales:write") ? (at?: string) => set({ book: at ? `at:${at}` : "new" }) : null;
  return (
    <div className="calendar">
      <PageHead
        title={t("Calendar")}
        actions={
          <>
            {may("sales:read") && <Link to="/calendar" search={{ ...search, part: "sharing" }} className="button">{t("Feeds and accounts")}</Link>}
            {book && <Button kind="main" icon="plus" onClick={() => book(view === "day" ? `${date}T09:00` : undefined)}>{t("New appointment")}</Button>}
          </>
        }
      >
        <span className="faint" aria-live="polite">{name} · {zone}</span>
      </PageHead>
      <div className="filters">
        <Button icon="left" aria-label={t("Earlier")} onClick={() => set({ date: turned(view, date, -1) })} />
        <Button onClick={() => set({ date: undefined })}>{t("Today")}</Button>
        <Button icon="right" aria-label={t("Later")} onClick={() => set({ date: turned(view, date, 1) })} />
        <input type="date" aria-label={t("Date")} value={date} onChange={(event) => event.target.value && set({ date: event.target.value })} />
        <div className="calendar-views" role="group" aria-label={t("View")}>
          {viewNames().map(([one, text]) => (
            <button key={one} type="button" className="button" aria-pressed={view === one} onClick={() => set({ show: one === "month" ? undefined : one })}>{text}</button>
          ))}
        </div>
        {may("sales:read") && (
          <select aria-label={t("Whose appointments")} value={search.who ?? ""} onChange={(event) => set({ who: event.target.value || undefined })}>
            <option value="">{t("Everybody")}</option>
            <option value="me">{t("Mine")}</option>
            <option value="none">{t("Of nobody yet")}</option>
            {colleagues.all.filter((one) => one.id !== colleagues.me?.id).map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
          </select>
        )}
      </div>
      {!may("sales:read") && !may("campaigns:read") ? (
        <Empty title={t("You may not see this")}>{t("Your role does not include it. Ask an owner of the account for it.")}</Empty>
      ) : found.error ? (
        <Failed error={found.error} again={found.again} />
      ) : found.isPending ? (
        <Loading lines={8} />
      ) : (
        <>
          {found.isPartial && <p className="notice calendar-note">{t("There is more than fits here; the latest is left out. Choose a shorter period.")}</p>}
          <Shown view={view} isNarrow={isNarrow} name={name} days={found.days} zone={zone} today={today} onOpen={open} onDay={(day) => set({ show: "day", date: day })} onBook={book} />
        </>
      )}
      {search.book && may("sales:write") && <Booking key={search.book} at={search.book} day={view === "month" ? undefined : date} onClose={() => set({ book: undefined })} />}
      {search.appointment && may("sales:read") && <OneAppointment key={search.appointment} id={search.appointment} onClose={() => set({ appointment: undefined })} />}
    </div>
  );
}

export type ShownProps = {
  name: string;
  days: Day[];
  zone: string;
  today: string;
  onOpen: (one: AppointmentRead) => void;
  onDay: (date: string) => void;
  onBook: ((at?: string) => void) | null;
};

function Shown({ view, isNarrow, ...props }: ShownProps & { view: View; isNarrow: boolean }) {
  if (view === "list" || (isNarrow && view !== "day")) {
    const isEmpty = props.days.every((one) => !one.appointments.length && !one.campaigns.length && !one.occurrences.length && !one.planned);
    return isEmpty ? (
      <Empty title={t("Nothing is planned here")} action={props.onBook && <Button kind="main" onClick={() => props.onBook!()}>{t("New appointment")}</Button>}>
        {t("Book an appointment, or choose another period.")}
      </Empty>
    ) : (
      <DayList {...props} />
    );
  }
  return view === "month" ? <Month {...props} /> : <HourGrid {...props} />;
}

function OneAppointment({ id, onClose }: { id: string; onClose: () => void }) {
  const found = useQuery({ queryKey: ["appointments", "one", id], queryFn: () => data(getAppointment({ path: { appointment_id: id }, throwOnError: true })) });
  return <AppointmentDialog found={found.data} error={found.error} onClose={onClose} />;
}

/**
 * The dialog that books an appointment. If `at` is `at:2026-11-29T09:00`, it sets the time. If `at`
 * is an id, it sets the contact. `new` sets neither. Without a time, the dialog starts at 09:00 of
 * `day`, if `day` is given.
 */
function Booking({ at, day, onClose }: { at: string; day: string | undefined; onClose: () => void }) {
  const time = at.startsWith("at:") ? at.slice(3) : day ? `${day}T09:00` : null;
  const contact = at === "new" || at.startsWith("at:") ? null : at;
  return <BookDialog starts={time} contactId={contact} onClose={onClose} />;
}
