/** What to do about each kind of alert. The runbook in `docs/how-to/runbook.md` explains more. */
import type { AlertKind, AlertRead } from "../../api/generated";
import { t } from "../../i18n";

type Help = { todo: string; command?: string };

export function helpOf(kind: AlertKind): Help {
  const all: Record<AlertKind, Help> = {
    archive_not_kept: { todo: t("An old month could not be archived. Correct what the detail names; the daily run tries again and drops nothing before.") },
    calendar_failing: { todo: t("The calendar server refuses. With a changed password or address, remove the calendar account and connect it again.") },
    campaign_blocked: { todo: t("Correct what the reason names with the provider, or copy the campaign with another message. Then resume it.") },
    campaign_paused: { todo: t("Read the replies. Wrong list, wrong message or wrong hour: cancel the campaign. Otherwise resume it.") },
    clock_skew: { todo: t("Turn on the time synchronisation (NTP) of the machines of workers and database.") },
    disk_low: { todo: t("Move old backups and exports away, rotate the logs, or enlarge the disk.") },
    doubtful_opt_out: { todo: t("Read the reply and decide: opt the person out, or release the hold. In doubt, opt out.") },
    events_late: { todo: t("Events of the provider wait. Start a worker, or more of them.") },
    job_failing: { todo: t("Correct what the error names: a setting, a disk, a server that is away. The job runs again by itself.") },
    job_overdue: { todo: t("Restart Redis; if that does not help, restart the workers and keep their log.") },
    line_blocked: { todo: t("Correct it in the provider's settings (top up, register, new key), then unblock the line.") },
    mail_down: { todo: t("Mails are not sent. Check the address of the mail server and the sender, then restart the workers."), command: "crm-api doctor" },
    media_fetch_dead: { todo: t("A picture could not be copied. Correct what the error names, then order the copies again. With 404 the file is gone.") },
    message_id_given_twice: { todo: t("Look whether the second message arrived, then settle it. Report it to the provider's support.") },
    month_not_dropped: { todo: t("Apply the failed events again and settle unclear messages. The next daily run drops the month.") },
    no_reports: { todo: t("No report of the provider arrives, so no STOP either. Pause the campaigns and repair the webhook."), command: "crm-api webhooks register" },
    nothing_sent: { todo: t("Messages are due, but none leaves. Look at lines, jobs and workers; restart the workers if a job hangs.") },
    opt_out_on_unknown_line: { todo: t("Read the lines from the provider, then apply the failed events again.") },
    phone_lookup_refused: { todo: t("Correct the key of the number lookup or its account, then order the validation again.") },
    phone_validation_failed: { todo: t("Correct what the error names, then order the validation again.") },
    provider_asked_to_wait: { todo: t("The provider asked to wait for long. Ask its support why. To try at once, unblock any line.") },
    provider_down: { todo: t("If the provider is down: nothing. If other machines reach it, check this machine's way out (DNS, firewall, proxy).") },
    provider_list_lags: { todo: t("Nothing at first; after hours ask the provider's support.") },
    quote_unscheduled: { todo: t("A quote was approved two days ago. Call the person and book an appointment.") },
    reconciliation_drift: { todo: t("Once after an outage: nothing. If each night finds some, events are lost; check the webhook."), command: "crm-api webhooks list" },
    reconciliation_failed: { todo: t("Correct what the error names, then compare with the provider again.") },
    reconciliation_old: { todo: t("Correct what the error names, then compare with the provider again.") },
    refresh_token_reused: { todo: t("Ask the user. If it was somebody else, end the user's sessions and let them set a new password.") },
    restored: { todo: t("Wait until the comparison with the provider is complete, then resume the campaigns that should go on.") },
    send_parked: { todo: t("Look in the provider's app whether the message was sent, then settle it. In doubt it was: no message is better than two.") },
    sends_unclear: { todo: t("The provider's answers are missing. Do not send such a message again by hand before it is settled.") },
    texts_late: { todo: t("Messages leave too late. Look at the workers; restart one that hangs.") },
    webhook_endpoint_disabled: { todo: t("Repair the receiving system, enable the endpoint, then deliver the failed events again.") },
    webhook_event_dead: { todo: t("Correct the cause (often an unknown line: read the lines), then apply the events again.") },
    webhook_health: { todo: t("Repair the registration of the webhook, then check again."), command: "crm-api webhooks register" },
    webhook_refused: { todo: t("Events had a wrong signature. Replace the signing keys, and check the clock of the database."), command: "crm-api webhooks rotate" },
    worker_away: { todo: t("A worker has stopped. Start it; its last line of log says why it ended."), command: "systemctl start crm-api-worker" },
  };
  return all[kind] ?? { todo: "" };
}

type Place = { to: "/campaigns/$id" | "/inbox/$id" | "/contacts/$id"; id: string } | { to: "/settings" | "/operations"; part: string } | { to: "/inbox" | "/calendar" };

const UUID = /^[0-9a-f-]{36}$/;

/** Return the screen on which the cause can be corrected; null if there is none. */
export function placeOf({ kind, subject, context }: AlertRead): Place | null {
  if ((kind === "campaign_blocked" || kind === "campaign_paused" || kind === "sends_unclear" || kind === "send_parked") && UUID.test(subject)) return { to: "/campaigns/$id", id: subject };
  if (kind === "line_blocked" || kind === "opt_out_on_unknown_line" || kind === "provider_asked_to_wait") return { to: "/settings", part: "lines" };
  if (kind === "refresh_token_reused") return { to: "/settings", part: "people" };
  if (kind === "webhook_endpoint_disabled") return { to: "/settings", part: "webhooks" };
  if (kind === "webhook_health" || kind === "webhook_refused" || kind === "no_reports") return { to: "/settings", part: "provider" };
  if (kind.startsWith("reconciliation")) return { to: "/operations", part: "reconciliation" };
  if (kind === "webhook_event_dead" || kind === "events_late" || kind === "month_not_dropped") return { to: "/operations", part: "events" };
  if (["job_failing", "job_overdue", "worker_away", "texts_late", "nothing_sent"].includes(kind)) return { to: "/operations", part: "jobs" };
  if (kind === "doubtful_opt_out" && typeof context?.conversation_id === "string") return { to: "/inbox/$id", id: context.conversation_id };
  if (kind === "doubtful_opt_out") return UUID.test(subject) ? { to: "/contacts/$id", id: subject } : { to: "/inbox" };
  if (kind === "quote_unscheduled") return { to: "/calendar" };
  return null;
}
