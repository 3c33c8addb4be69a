/** A week or a day as a grid of hours. The pointer or the keyboard moves appointments. */
import { useRef, useState, type DragEvent, type KeyboardEvent, type MouseEvent } from "react";
import type { AppointmentRead, AppointmentUpdate } from "../api/generated";
import { ApiProblem } from "../api/problem";
import { count, when } from "../format";
import { language, t } from "../i18n";
import { may } from "../session";
import { fail, say } from "../ui/toasts";
import { appointmentKind, appointmentStatus } from "../ui/sales-words";
import { instantOf, plusDays } from "../ui/zoned";
import type { ShownProps } from "./calendar";
import { ConflictDialog } from "./calendar-appointment";
import { lasts, minuteOf, useMove, type Day } from "./calendar-data";
import { appointmentName, Campaigns, timeOf } from "./calendar-month";

const HOUR_PX = 46;
const STEP = 15;
const EARLIEST = 7;
const LATEST = 19;

type Pending = { id: string; date: string; minute: number };
type Placed = { one: AppointmentRead; start: number; length: number; lane: number; lanes: number };

const two = (value: number) => String(value).padStart(2, "0");
const local = (date: string, minute: number) => `${date}T${two(Math.floor(minute / 60))}:${two(minute % 60)}`;

/** Place the appointments of a day. Appointments at the same time share the width of the day. */
function placed(day: Day, zone: string): Placed[] {
  const found: Placed[] = [];
  let group: Placed[] = [];
  let ends: number[] = [];
  const close = () => {
    for (const one of group) one.lanes = ends.length;
    found.push(...group);
    group = [];
    ends = [];
  };
  for (const one of day.appointments) {
    const start = minuteOf(one.starts_at, zone);
    const length = Math.max(STEP * 2, Math.min(lasts(one), 24 * 60 - start));
    if (group.length && start >= Math.max(...ends)) close();
    const free = ends.findIndex((end) => end <= start);
    const lane = free >= 0 ? free : ends.length;
    ends[lane] = start + length;
    group.push({ one, start, length, lane, lanes: 1 });
  }
  close();
  return found;
}

export function HourGrid({ name, days, zone, today, onOpen, onDay, onBook }: ShownProps) {
  const move = useMove();
  const [pending, setPending] = useState<Pending | null>(null);
  const [conflict, setConflict] = useState<{ one: AppointmentRead; body: AppointmentUpdate; error: ApiProblem } | null>(null);
  const dragged = useRef<{ one: AppointmentRead; grabbed: number } | null>(null);
  const all = days.flatMap((day) => day.appointments);
  const first = Math.min(EARLIEST, ...all.map((one) => Math.floor(minuteOf(one.starts_at, zone) / 60)));
  const last = Math.max(LATEST, ...all.map((one) => Math.min(24, Math.ceil((minuteOf(one.starts_at, zone) + lasts(one)) / 60))));
  const hours = Array.from({ length: last - first }, (_, at) => first + at);
  const save = async (one: AppointmentRead, date: string, minute: number) => {
    setPending(null);
    const starts = instantOf(local(date, minute), zone);
    const body = { starts_at: starts.toISOString(), ends_at: new Date(starts.getTime() + lasts(one) * 60_000).toISOString() };
    try {
      await move(one, body);
      const undo = () => void move(one, { starts_at: one.starts_at, ends_at: one.ends_at, allow_conflict: true }).catch(fail);
      say(t("{name} is now at {time}.", { name: appointmentName(one), time: when(body.starts_at, zone) }), { undo });
    } catch (error) {
      if (error instanceof ApiProblem && error.code === "appointment_conflict") setConflict({ one, body, error });
      else fail(error);
    }
  };
  const minuteAt = (event: MouseEvent, column: Element) => {
    const y = event.clientY - column.getBoundingClientRect().top;
    return Math.max(0, Math.min(24 * 60 - STEP, Math.round((first * 60 + (y / HOUR_PX) * 60) / STEP) * STEP));
  };
  const drop = (event: DragEvent, date: string) => {
    event.preventDefault();
    const held = dragged.current;
    dragged.current = null;
    if (held) void save(held.one, date, Math.max(0, Math.round((minuteAt(event, event.currentTarget) - held.grabbed) / STEP) * STEP));
  };
  const press = (event: KeyboardEvent, one: AppointmentRead, date: string) => {
    const at = pending?.id === one.id ? pending : { id: one.id, date, minute: minuteOf(one.starts_at, zone) };
    if (event.key === "Escape" && pending) return void (event.preventDefault(), setPending(null));
    if (event.key === "Enter" && pending?.id === one.id) return void (event.preventDefault(), save(one, at.date, at.minute));
    if (!event.altKey || !event.key.startsWith("Arrow") || one.status !== "booked" || !may("sales:write")) return;
    event.preventDefault();
    const minutes = event.key === "ArrowDown" ? STEP : event.key === "ArrowUp" ? -STEP : 0;
    const shift = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const minute = Math.max(0, Math.min(24 * 60 - STEP, at.minute + minutes));
    setPending({ id: one.id, date: plusDays(at.date, shift), minute });
  };
  const moved = pending && all.find((one) => one.id === pending.id);
  const dayName = (date: string) => new Intl.DateTimeFormat(language(), { timeZone: "UTC", weekday: "short", day: "numeric" }).format(new Date(`${date}T12:00:00Z`));
  return (
    <>
      <p className="calendar-note faint" role="status">
        {moved
          ? t("{name}: {time}. Enter moves it, Escape leaves it.", { name: appointmentName(moved), time: when(instantOf(local(pending.date, pending.minute), zone).toISOString(), zone) })
          : t("Drag an appointment to move it, or focus it and press Alt with an arrow key.")}
      </p>
      <div className="hours" role="group" aria-label={name}>
        <div className="hours-head">
          <span />
          {days.map((day) => (
            <div key={day.date} className="hours-day" aria-current={day.date === today ? "date" : undefined}>
              <button type="button" className="month-day" onClick={() => onDay(day.date)}><b>{dayName(day.date)}</b></button>
              {onBook && <button type="button" className="link" aria-label={t("Book on {day}", { day: dayName(day.date) })} onClick={() => onBook(`${day.date}T09:00`)}>{t("Book")}</button>}
              {day.planned > 0 && <span className="faint number">{t("{n} planned", { n: count(day.planned) })}</span>}
              <Campaigns day={day} />
            </div>
          ))}
        </div>
        <div className="hours-body" style={{ blockSize: hours.length * HOUR_PX }}>
          <div className="hours-times" aria-hidden="true">
            {hours.map((hour) => <span key={hour} style={{ blockSize: HOUR_PX }}>{timeOf(`2026-01-01T${two(hour)}:00:00Z`, "UTC")}</span>)}
          </div>
          {days.map((day) => (
            <div
              key={day.date}
              className="hours-column"
              style={{ backgroundSize: `100% ${HOUR_PX}px` }}
              onDragOver={(event) => event.preventDefault()}
              onDrop={(event) => drop(event, day.date)}
              onClick={(event) => event.target === event.currentTarget && onBook?.(local(day.date, Math.floor(minuteAt(event, event.currentTarget) / 30) * 30))}
            >
              {placed(day, zone).map(({ one, start, length, lane, lanes }) => {
                const isMoved = pending?.id === one.id;
                const top = ((isMoved ? pending.minute : start) / 60 - first) * HOUR_PX;
                return (
                  <button
                    key={one.id}
                    type="button"
                    className={`visit visit-${one.status} ${isMoved ? "visit-moved" : ""}`}
                    draggable={one.status === "booked" && may("sales:write")}
                    aria-keyshortcuts="Alt+ArrowUp Alt+ArrowDown Alt+ArrowLeft Alt+ArrowRight"
                    style={{ insetBlockStart: top, blockSize: (length / 60) * HOUR_PX - 2, insetInlineStart: `${(lane / lanes) * 100}%`, inlineSize: `calc(${100 / lanes}% - 3px)` }}
                    onDragStart={(event) => {
                      const box = event.currentTarget.getBoundingClientRect();
                      dragged.current = { one, grabbed: ((event.clientY - box.top) / HOUR_PX) * 60 };
                      event.dataTransfer.effectAllowed = "move";
                      event.dataTransfer.setData("text/plain", one.id);
                    }}
                    onKeyDown={(event) => press(event, one, day.date)}
                    onBlur={() => isMoved && setPending(null)}
                    onClick={() => onOpen(one)}
                  >
                    <b>{appointmentName(one)}</b>
                    <span>{timeOf(one.starts_at, zone)}–{timeOf(one.ends_at, zone)}</span>
                    {one.location && <span>{one.location}</span>}
                    <span className="hidden">{[appointmentKind(one.kind), when(one.starts_at, zone), appointmentStatus(one.status)].join(", ")}</span>
                  </button>
                );
              })}
            </div>
          ))}
        </div>
      </div>
      {conflict && (
        <ConflictDialog
          error={conflict.error}
          onClose={() => setConflict(null)}
          onAnyway={async () => {
            await move(conflict.one, { ...conflict.body, allow_conflict: true });
            setConflict(null);
          }}
        />
      )}
    </>
  );
}
