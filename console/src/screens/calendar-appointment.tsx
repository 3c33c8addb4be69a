/** The dialog of one appointment, and the warning about two appointments at the same time. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { getAppointment, getAppointmentFile, listAppointmentReminders, type AppointmentRead, type AppointmentStatus } from "../api/generated";
import { ApiProblem, sentenceOf } from "../api/problem";
import { currentZone, when } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Failed, Loading, Time } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { APPOINTMENT_TONE, appointmentKind, appointmentStatus } from "../ui/sales-words";
import { reminderStatus } from "../ui/code-names";
import { reason } from "../ui/reasons";
import { AppointmentForm } from "./calendar-book";
import { useMove } from "./calendar-data";
import { appointmentName, timeOf } from "./calendar-month";
import { Actor } from "../ui/actor";

type Props = { found: AppointmentRead | undefined; error: unknown; onClose: () => void };

export function AppointmentDialog({ found, error, onClose }: Props) {
  const [isEditing, setEditing] = useState(false);
  if (found && isEditing) return <AppointmentForm appointment={found} onClose={() => setEditing(false)} onDone={() => setEditing(false)} />;
  return (
    <Dialog
      title={found ? appointmentName(found) : t("Appointment")}
      onClose={onClose}
      footer={found && <Actions one={found} onEdit={() => setEditing(true)} onClose={onClose} />}
    >
      {error ? <Failed error={error} /> : found ? <Facts one={found} /> : <Loading lines={4} />}
    </Dialog>
  );
}

function Facts({ one }: { one: AppointmentRead }) {
  const zone = currentZone();
  const facts: [string, React.ReactNode][] = [
    [t("When"), <span>{when(one.starts_at, zone)} – {timeOf(one.ends_at, zone)}</span>],
    [t("There"), one.timezone !== zone && when(one.starts_at, one.timezone)],
    [t("Kind"), appointmentKind(one.kind)],
    [t("Who goes"), one.assignee_name ?? t("Nobody yet")],
    [t("Where"), one.location],
    [t("Note"), one.note],
    [t("Contact"), one.contact_id && <Link to="/contacts/$id" params={{ id: one.contact_id }} className="link">{one.contact_name ?? t("Open the contact")}</Link>],
    [t("Booked by"), one.author && <Actor who={one.author} />],
  ];
  return (
    <>
      <p><Badge tone={APPOINTMENT_TONE[one.status]}>{appointmentStatus(one.status)}</Badge></p>
      <dl className="facts">
        {facts.filter(([, value]) => value).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <Reminders id={one.id} />
    </>
  );
}

function Reminders({ id }: { id: string }) {
  const found = useQuery({
    queryKey: ["appointments", "reminders", id],
    queryFn: () => data(listAppointmentReminders({ path: { appointment_id: id }, throwOnError: true })),
  });
  if (!found.data?.data.length) return null;
  return (
    <section aria-labelledby="reminders-title">
      <h3 id="reminders-title">{t("Reminders")}</h3>
      <ul className="sales">
        {found.data.data.map((one) => (
          <li key={one.id}>
            <Badge>{reminderStatus(one.status)}</Badge> {one.reason && <span>{reason(one.reason)}</span>} <span className="faint"><Time at={one.updated_at} /></span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Actions({ one, onEdit, onClose }: { one: AppointmentRead; onEdit: () => void; onClose: () => void }) {
  const move = useMove();
  const change = useMutation({
    mutationFn: (status: AppointmentStatus) => move(one, { status }),
    onSuccess: (_made, status) => {
      const undo = () => void move(one, { status: one.status, allow_conflict: true }).catch(fail);
      say(t("{name}: {status}.", { name: appointmentName(one), status: appointmentStatus(status) }), { undo });
      onClose();
    },
    onError: fail,
  });
  const file = useMutation({
    mutationFn: async () => String(await data(getAppointmentFile({ path: { appointment_id: one.id }, parseAs: "text", throwOnError: true }) as never)),
    onSuccess: (text) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/calendar" }));
      link.download = "appointment.ics";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
    },
    onError: fail,
  });
  const isOpen = one.status === "booked";
  return (
    <>
      <Button busy={file.isPending} onClick={() => file.mutate()}>{t("Calendar file")}</Button>
      {may("sales:write") && isOpen && <Button kind="danger" busy={change.isPending} onClick={() => change.mutate("cancelled")}>{t("Cancel the appointment")}</Button>}
      {may("sales:write") && !isOpen && <Button busy={change.isPending} onClick={() => change.mutate("booked")}>{t("Book it again")}</Button>}
      {may("sales:write") && isOpen && <Button busy={change.isPending} onClick={() => change.mutate("no_show")}>{t("Not there")}</Button>}
      {may("sales:write") && <Button onClick={onEdit}>{t("Change")}</Button>}
      {may("sales:write") && isOpen && <Button kind="main" busy={change.isPending} onClick={() => change.mutate("held")}>{t("It took place")}</Button>}
    </>
  );
}

type ConflictProps = { error: ApiProblem; onClose: () => void; onAnyway: () => Promise<unknown> };

/** Warn that the user has another appointment at this time, and show that appointment. */
export function ConflictNote({ error }: { error: ApiProblem }) {
  const id = String(error.extras.appointment_id ?? "");
  const zone = currentZone();
  const other = useQuery({
    queryKey: ["appointments", "one", id],
    enabled: id !== "",
    queryFn: () => data(getAppointment({ path: { appointment_id: id }, throwOnError: true })),
  });
  return (
    <p className="notice notice-warn" role="alert" data-part="conflict">
      {t("The person who goes has another appointment at this time.")}{" "}
      {other.data && <strong>{appointmentName(other.data)}, {when(other.data.starts_at, zone)} – {timeOf(other.data.ends_at, zone)}</strong>}
    </p>
  );
}

export function ConflictDialog({ error, onClose, onAnyway }: ConflictProps) {
  const again = useMutation({ mutationFn: onAnyway });
  return (
    <Dialog
      title={t("Two appointments at once")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Leave it where it was")}</Button>
          <Button kind="main" busy={again.isPending} onClick={() => again.mutate()}>{t("Book anyway")}</Button>
        </>
      }
    >
      {again.error && <p className="notice notice-bad" role="alert">{sentenceOf(again.error)}</p>}
      <ConflictNote error={error} />
    </Dialog>
  );
}
