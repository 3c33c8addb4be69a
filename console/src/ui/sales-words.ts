/** Names and colours of the kinds and statuses of appointments, quotes and outcomes. */
import type { AppointmentKind, AppointmentStatus, OutcomeKind, QuoteStatus } from "../api/generated";
import { t } from "../i18n";
import type { Tone } from "./parts";
import { plain } from "./words";

export const APPOINTMENT_KINDS: AppointmentKind[] = ["assessment", "repair", "other"];
export const OUTCOME_KINDS: OutcomeKind[] = ["appointment_booked", "appointment_held", "quote_sent", "quote_approved", "job_done", "invoice_paid", "custom"];

export function appointmentKind(kind: AppointmentKind): string {
  return { assessment: t("Assessment"), repair: t("Repair"), other: t("Other appointment") }[kind] ?? plain(kind);
}

export function appointmentStatus(status: AppointmentStatus): string {
  return { booked: t("Booked"), held: t("Held"), cancelled: t("Cancelled"), no_show: t("Not there") }[status] ?? plain(status);
}

export const APPOINTMENT_TONE: Record<AppointmentStatus, Tone> = { booked: "info", held: "good", cancelled: "neutral", no_show: "warn" };

export function quoteStatus(status: QuoteStatus): string {
  return { draft: t("Draft"), sent: t("Sent"), approved: t("Approved"), declined: t("Declined") }[status] ?? plain(status);
}

export function outcomeKind(kind: OutcomeKind): string {
  return {
    appointment_booked: t("Appointment booked"), appointment_held: t("Appointment held"), quote_sent: t("Quote sent"), quote_approved: t("Quote approved"),
    job_done: t("Job done"), invoice_paid: t("Invoice paid"), custom: t("Something else"),
  }[kind] ?? plain(kind);
}
