/** Two views of the calendar: a month as a grid, and any period as a list of days. */
import { Link } from "@tanstack/react-router";
import type { AppointmentRead } from "../api/generated";
import { count, when } from "../format";
import { language, t } from "../i18n";
import { Badge } from "../ui/parts";
import { APPOINTMENT_TONE, appointmentKind, appointmentStatus } from "../ui/sales-words";
import { CAMPAIGN_TONE, campaignStatus } from "../ui/words";
import { weekdayOf } from "../ui/zoned";
import type { ShownProps } from "./calendar";
import type { Day } from "./calendar-data";

const SHOWN = 4;

export function timeOf(at: string, zone: string): string {
  return new Intl.DateTimeFormat(language(), { hour: "numeric", minute: "2-digit", timeZone: zone }).format(new Date(at));
}

export function appointmentName(one: AppointmentRead): string {
  return one.contact_name ?? one.note?.split("\n")[0] ?? appointmentKind(one.kind);
}

function dayName(date: string, style: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(language(), { timeZone: "UTC", ...style }).format(new Date(`${date}T12:00:00Z`));
}

export function Campaigns({ day }: { day: Day }) {
  return (
    <>
      {day.campaigns.map((one) => (
        <Link key={one.id} to="/campaigns/$id" params={{ id: one.id }} search={{}} className={`month-item badge-${CAMPAIGN_TONE[one.status]}`} title={campaignStatus(one.status)}>
          {one.name}
        </Link>
      ))}
      {day.occurrences.map((one) => <span key={one.series_id + one.at} className="month-item badge-neutral">{one.name}</span>)}
    </>
  );
}

export function Month({ name, days, zone, today, onOpen, onDay }: ShownProps) {
  return (
    <div className="page-body">
      <ol className="month" aria-label={name}>
        {days.map((day, index) => (
          <li key={day.date} style={index === 0 ? { gridColumnStart: weekdayOf(day.date) + 1 } : undefined} aria-current={day.date === today ? "date" : undefined}>
            <p>
              <button type="button" className="month-day" title={dayName(day.date, { weekday: "long", month: "long", day: "numeric" })} onClick={() => onDay(day.date)}>
                <span className="month-week">{dayName(day.date, { weekday: "short" })}</span> <b className="number">{Number(day.date.slice(8))}</b>
              </button>
              {day.planned > 0 && <span className="faint number">{t("{n} planned", { n: count(day.planned) })}</span>}
            </p>
            <Campaigns day={day} />
            {day.appointments.slice(0, SHOWN).map((one) => (
              <button key={one.id} type="button" className={`month-item month-visit visit-${one.status}`} title={when(one.starts_at, zone)} onClick={() => onOpen(one)}>
                <span className="number">{timeOf(one.starts_at, zone)}</span> {appointmentName(one)}
              </button>
            ))}
            {day.appointments.length > SHOWN && <button type="button" className="link" onClick={() => onDay(day.date)}>{t("{n} more", { n: day.appointments.length - SHOWN })}</button>}
          </li>
        ))}
      </ol>
    </div>
  );
}

export function DayList({ name, days, zone, today, onOpen, onBook }: ShownProps) {
  const shown = days.filter((one) => one.date === today || one.appointments.length || one.campaigns.length || one.occurrences.length || one.planned);
  return (
    <ol className="agenda" aria-label={name}>
      {shown.map((day) => (
        <li key={day.date} aria-current={day.date === today ? "date" : undefined}>
          <header>
            <h2>{dayName(day.date, { weekday: "long", month: "long", day: "numeric" })}</h2>
            {day.planned > 0 && <span className="faint number">{t("{n} messages planned", { n: count(day.planned) })}</span>}
            {onBook && <button type="button" className="link" aria-label={t("Book on {day}", { day: dayName(day.date, { month: "long", day: "numeric" }) })} onClick={() => onBook(`${day.date}T09:00`)}>{t("Book")}</button>}
          </header>
          <Campaigns day={day} />
          <ul>
            {day.appointments.map((one) => (
              <li key={one.id} className={`agenda-visit visit-${one.status}`}>
                <span className="number agenda-time">{timeOf(one.starts_at, zone)}–{timeOf(one.ends_at, zone)}</span>
                <button type="button" className="link" onClick={() => onOpen(one)}>{appointmentName(one)}</button>
                <span className="faint">{[appointmentKind(one.kind), one.assignee_name, one.location].filter(Boolean).join(" · ")}</span>
                <Badge tone={APPOINTMENT_TONE[one.status]}>{appointmentStatus(one.status)}</Badge>
              </li>
            ))}
          </ul>
          {!day.appointments.length && !day.campaigns.length && !day.occurrences.length && !day.planned && <p className="faint">{t("Nothing today.")}</p>}
        </li>
      ))}
    </ol>
  );
}
