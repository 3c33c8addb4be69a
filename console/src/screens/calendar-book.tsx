/** The form that books or changes an appointment. It offers free times and shows a conflict. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import { bookAppointment, findFreeTimes, getContact, listContacts, updateAppointment, type AppointmentKind, type AppointmentRead, type Weekday } from "../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { now as serviceNow } from "../clock";
import { currentZone, personName, phone, when } from "../format";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button, Doubt, Field } from "../ui/parts";
import { Search } from "../ui/search";
import { say } from "../ui/toasts";
import { APPOINTMENT_KINDS, appointmentKind } from "../ui/sales-words";
import { dateOf, instantOf, localOf, plusDays } from "../ui/zoned";
import { ConflictNote } from "./calendar-appointment";
import { useColleagues } from "../colleagues";
import { lasts } from "./calendar-data";
import { timeOf } from "./calendar-month";

const LENGTHS = [30, 45, 60, 90, 120, 180, 240, 480];
const WEEK: Weekday[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

type Values = { starts: string; minutes: number; kind: AppointmentKind; assignee: string; location: string; note: string };

export function BookDialog({ starts, contactId, onClose }: { starts: string | null; contactId: string | null; onClose: () => void }) {
  return <AppointmentForm starts={starts} contactId={contactId} onClose={onClose} onDone={onClose} />;
}

function nextHour(zone: string): string {
  return `${localOf(serviceNow() + 3_600_000, zone).slice(0, 13)}:00`;
}

function valuesOf(one: AppointmentRead | undefined, starts: string | null | undefined, zone: string, me: string): Values {
  if (!one) return { starts: starts ?? nextHour(zone), minutes: 60, kind: "assessment", assignee: me, location: "", note: "" };
  return { starts: localOf(one.starts_at, zone), minutes: lasts(one), kind: one.kind, assignee: one.assignee_id ?? "", location: one.location ?? "", note: one.note ?? "" };
}

type FormProps = { appointment?: AppointmentRead; starts?: string | null; contactId?: string | null; onClose: () => void; onDone: () => void };

export function AppointmentForm({ appointment, starts, contactId, onClose, onDone }: FormProps) {
  const zone = currentZone();
  const cache = useQueryClient();
  const { me, all } = useColleagues();
  const [contact, setContact] = useState(contactId ?? appointment?.contact_id ?? null);
  const [values, setValues] = useState(() => valuesOf(appointment, starts, zone, me?.id ?? ""));
  const [asksPast, setAsksPast] = useState(false);
  const set = (change: Partial<Values>) => (save.reset(), setAsksPast(false), setValues((was) => ({ ...was, ...change })));
  const save = useMutation({
    mutationFn: (allow: boolean) => {
      const begins = instantOf(values.starts, zone);
      const body = {
        kind: values.kind, starts_at: begins.toISOString(), ends_at: new Date(begins.getTime() + values.minutes * 60_000).toISOString(),
        assignee_id: values.assignee || null, location: values.location.trim() || null, note: values.note.trim() || null,
        ...(allow ? { allow_conflict: true } : {}),
      };
      if (appointment) return data(updateAppointment({ path: { appointment_id: appointment.id }, body, throwOnError: true }));
      return data(bookAppointment({ body: { ...body, contact_id: contact! }, throwOnError: true }));
    },
    onSuccess: (made) => {
      say(t("Booked: {name}, {time}.", { name: made.contact_name ?? appointmentKind(made.kind), time: when(made.starts_at, zone) }));
      void cache.invalidateQueries({ queryKey: ["appointments"] });
      onDone();
    },
  });
  const { error } = save;
  const conflict = error instanceof ApiProblem && error.code === "appointment_conflict" ? error : null;
  const shown = ["/starts_at", "/ends_at", "/location", "/note", "/assignee_id", "/contact_id"];
  const isShown = shown.some((at) => fieldError(error, at));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const isMoved = !appointment || values.starts !== localOf(appointment.starts_at, zone);
    if (isMoved && instantOf(values.starts, zone).getTime() < serviceNow()) setAsksPast(true);
    else save.mutate(false);
  };
  return (
    <Dialog
      title={appointment ? t("Change the appointment") : t("New appointment")}
      onClose={onClose}
      wide
      footer={
        <>
          <Button onClick={onClose}>{t("Go back")}</Button>
          {conflict && <Button busy={save.isPending} onClick={() => save.mutate(true)}>{t("Book anyway")}</Button>}
          <Button kind="main" type="submit" form="appointment-form" busy={save.isPending} disabled={!appointment && !contact}>{appointment ? t("Save") : t("Book")}</Button>
        </>
      }
    >
      {asksPast && <Doubt text={t("This is in the past.")} act={t("Book anyway")} onAct={() => (setAsksPast(false), save.mutate(false))} />}
      {conflict ? <ConflictNote error={conflict} /> : error && !isShown && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
      {!appointment && <ContactField id={contact} error={fieldError(error, "/contact_id")} onChange={setContact} />}
      <form id="appointment-form" className="form" onSubmit={submit}>
        <div className="form-pair">
          <Field label={t("Begins ({zone})", { zone })} error={fieldError(error, "/starts_at")}>
            {(attributes) => <input {...attributes} type="datetime-local" required value={values.starts} onChange={(event) => set({ starts: event.target.value })} />}
          </Field>
          <Field label={t("Lasts")} error={fieldError(error, "/ends_at")}>
            {(attributes) => (
              <select {...attributes} value={values.minutes} onChange={(event) => set({ minutes: Number(event.target.value) })}>
                {[...new Set([...LENGTHS, values.minutes])].sort((a, b) => a - b).map((one) => <option key={one} value={one}>{t("{n} min", { n: one })}</option>)}
              </select>
            )}
          </Field>
        </div>
        <div className="form-pair">
          <Field label={t("Kind")}>
            {(attributes) => (
              <select {...attributes} value={values.kind} onChange={(event) => set({ kind: event.target.value as AppointmentKind })}>
                {APPOINTMENT_KINDS.map((one) => <option key={one} value={one}>{appointmentKind(one)}</option>)}
              </select>
            )}
          </Field>
          <Field label={t("Who goes")} error={fieldError(error, "/assignee_id")}>
            {(attributes) => (
              <select {...attributes} value={values.assignee} onChange={(event) => set({ assignee: event.target.value })}>
                <option value="">{t("Nobody yet")}</option>
                {all.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
                {values.assignee && !all.some((one) => one.id === values.assignee) && <option value={values.assignee}>{appointment?.assignee_name ?? t("Another user")}</option>}
              </select>
            )}
          </Field>
        </div>
        <FreeTimes starts={values.starts} minutes={values.minutes} assignee={values.assignee} zone={zone} onChoose={(at) => set({ starts: at })} />
        <Field label={t("Where")} hint={t("Empty: the address of the property, else of the contact.")} error={fieldError(error, "/location")}>
          {(attributes) => <input {...attributes} value={values.location} onChange={(event) => set({ location: event.target.value })} />}
        </Field>
        <Field label={t("Note")} hint={t("Shown in the calendar of the person who goes.")} error={fieldError(error, "/note")}>
          {(attributes) => <textarea {...attributes} rows={2} value={values.note} onChange={(event) => set({ note: event.target.value })} />}
        </Field>
      </form>
    </Dialog>
  );
}

function ContactField({ id, error, onChange }: { id: string | null; error: string | undefined; onChange: (id: string | null) => void }) {
  const [text, setText] = useState("");
  const chosen = useQuery({ queryKey: ["contact", id], enabled: id !== null, queryFn: () => data(getContact({ path: { contact_id: id! }, throwOnError: true })) });
  const found = useQuery({
    queryKey: ["contacts", "find", text],
    enabled: text.length > 1 && id === null,
    queryFn: ({ signal }) => data(listContacts({ query: { q: text, limit: 6 }, signal, throwOnError: true })),
  });
  if (id) {
    return (
      <p>
        <strong>{chosen.data ? personName(chosen.data) : "…"}</strong> <span className="faint number">{phone(chosen.data?.phone)}</span>{" "}
        <button type="button" className="link" onClick={() => onChange(null)}>{t("Another contact")}</button>
        {(error ?? chosen.error) && <span className="field-error">{error ?? sentenceOf(chosen.error)}</span>}
      </p>
    );
  }
  return (
    <div>
      <Search label={t("With whom: name, number or e-mail")} value={text} onChange={setText} />
      {found.error && <p className="field-error" role="alert">{sentenceOf(found.error)}</p>}
      <ul className="found">
        {found.data?.data.map((one) => (
          <li key={one.id}>
            <button type="button" className="link" onClick={() => onChange(one.id)}>{personName(one)}</button> <span className="faint number">{phone(one.phone)}</span>
          </li>
        ))}
        {found.data && !found.data.data.length && <li className="faint">{t("No contact matches")}</li>}
      </ul>
    </div>
  );
}

type FreeProps = { starts: string; minutes: number; assignee: string; zone: string; onChoose: (local: string) => void };

/**
 * Show up to eight free times of the day. The chosen user must be free. If no user is chosen, every
 * user must be free.
 */
function FreeTimes({ starts, minutes, assignee, zone, onChoose }: FreeProps) {
  const date = starts.slice(0, 10);
  const found = useQuery({
    queryKey: ["appointments", "free", date, minutes, assignee, zone],
    enabled: date.length === 10 && minutes >= 5 && minutes <= 1440,
    queryFn: ({ signal }) => data(findFreeTimes({ query: { from: date, to: plusDays(date, 1), timezone: zone, duration_minutes: minutes, day: WEEK, ...(assignee ? { assignee_id: assignee } : {}) }, signal, throwOnError: true })),
  });
  const now = serviceNow();
  const times = (found.data?.data ?? []).flatMap((free) => {
    const last = Date.parse(free.ends_at) - minutes * 60_000;
    const begins: number[] = [];
    for (let at = Date.parse(free.starts_at); at <= last && begins.length < 8; at += Math.max(minutes, 30) * 60_000) if (at > now) begins.push(at);
    return begins;
  });
  return (
    <div className="free" role="group" aria-label={t("Free times")}>
      <span className="faint">{t("Free on this day:")}</span>
      {found.isError && <span className="field-error">{sentenceOf(found.error)}</span>}
      {found.data && !times.length && <span className="faint">{t("nothing between 9 and 18 o'clock")}</span>}
      {times.slice(0, 8).map((at) => {
        const local = localOf(at, zone);
        return <button key={at} type="button" className="button" aria-pressed={local === starts} onClick={() => onChoose(local)}>{timeOf(new Date(at).toISOString(), zone)}</button>;
      })}
      {found.data && <button type="button" className="link" onClick={() => onChoose(`${plusDays(dateOf(instantOf(starts, zone), zone), 1)}T${starts.slice(11)}`)}>{t("Next day")}</button>}
    </div>
  );
}
