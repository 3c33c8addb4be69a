/** Names of alerts, of parts of the service, of failed steps and of schedules of jobs. */
import type { AlertKind } from "../api/generated";
import { t } from "../i18n";
import { plain } from "./words";

export function alertName(kind: AlertKind): string {
  const names: Record<AlertKind, string> = {
    archive_not_kept: t("Archive not kept"), calendar_failing: t("Calendar failing"), campaign_blocked: t("Campaign blocked"), campaign_paused: t("Campaign paused"),
    clock_skew: t("Clock skew"), disk_low: t("Disk low"), doubtful_opt_out: t("Doubtful opt-out"), events_late: t("Events late"), job_failing: t("Job failing"),
    job_overdue: t("Job overdue"), line_blocked: t("Line blocked"), mail_down: t("Mail down"), media_fetch_dead: t("Picture not copied"),
    message_id_given_twice: t("Message id given twice"), month_not_dropped: t("Month not dropped"), no_reports: t("No reports"), nothing_sent: t("Nothing sent"),
    opt_out_on_unknown_line: t("Opt-out on unknown line"), phone_lookup_refused: t("Phone lookup refused"), phone_validation_failed: t("Phone validation failed"),
    provider_asked_to_wait: t("Provider asked to wait"), provider_down: t("Provider down"), provider_list_lags: t("Provider list lags"), quote_unscheduled: t("Quote unscheduled"),
    reconciliation_drift: t("Reconciliation drift"), reconciliation_failed: t("Reconciliation failed"), reconciliation_old: t("Reconciliation old"),
    refresh_token_reused: t("Refresh token reused"), restored: t("Restored from a backup"), send_parked: t("Send parked"), sends_unclear: t("Sends unclear"), texts_late: t("Messages late"),
    webhook_endpoint_disabled: t("Webhook endpoint disabled"), webhook_event_dead: t("Webhook event dead"), webhook_health: t("Webhook health"), webhook_refused: t("Webhook refused"),
    worker_away: t("Worker away"),
  };
  return names[kind] ?? plain(kind);
}

/** Return the name of a part of the service that `GET /readyz` checks. */
export function partName(part: string): string {
  const names: Record<string, string> = {
    database: t("Database"), migrations: t("Migrations"), worker: t("Worker"), jobs: t("Jobs"), webhook_backlog: t("Webhook backlog"), webhook_health: t("Webhook health"),
    provider: t("Provider"), mail: t("Mail"), redis: t("Redis"), replica: t("Replica"), process: t("Process"),
  };
  return names[part] ?? plain(part);
}

/** Return the name of the step at which a check of the webhooks failed. */
export function failedStep(step: string): string {
  const names: Record<string, string> = {
    misconfigured: t("Misconfigured"), not_sent: t("Not sent"), signature_refused: t("Signature refused"), late: t("Late"), not_applied: t("Not applied"),
    not_delivered: t("Not delivered"), no_webhook: t("No webhook"), send_unclear: t("Sending unclear"), silent: t("Silent"), refused: t("Refused"), given_up: t("Given up"),
    switched_off: t("Switched off"), missing: t("Missing"), disabled: t("Disabled"), events_missing: t("Events missing"), lines_missing: t("Lines missing"), key_unknown: t("Key unknown"),
  };
  return names[step] ?? plain(step);
}

/** Return how often a job has work. The texts are those of the API. */
export function scheduleText(text: string): string {
  const known = [
    t("every 60 s"), t("every 60 s, and on request"), t("hourly for each check; every 60 s it looks if a check is due"),
    t("every 60 s; credits daily, after many outcomes, and when rules change"), t("always while there is an endpoint; every 60 s it is started if needed"),
    t("every 60 s if contacts have changed, with a pause after each run"), t("every 60 s, and when a message has failed"),
    t("daily at 02:00 UTC, after an outage, and on request"), t("daily at 07:00 in the time zone of the first line"),
    t("every 60 s, and after each consent decision"), t("every 60 s, and when an appointment has changed"),
  ];
  return known.includes(t(text)) ? t(text) : text;
}
