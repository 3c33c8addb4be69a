/** Names and colours of the statuses that the API returns. */
import type { CampaignStatus, ImportStatus, MembershipStatus, MessageStatus } from "../api/generated";
import { t } from "../i18n";
import type { Tone } from "./parts";

/** The statuses of a recipient in the order of the bar, from delivered to waiting. */
export const RECIPIENT_STATUSES: MembershipStatus[] = [
  "delivered", "sent", "sending", "unknown", "failed", "held", "review", "skipped", "cancelled", "pending",
];

export function recipientStatus(status: MembershipStatus): string {
  return {
    pending: t("Waiting"), review: t("For review"), held: t("On hold"), sending: t("Sending"), unknown: t("Unclear"),
    sent: t("Sent"), delivered: t("Delivered"), failed: t("Failed"), skipped: t("Skipped"), cancelled: t("Cancelled"),
  }[status];
}

export const RECIPIENT_TONE: Record<MembershipStatus, Tone> = {
  pending: "neutral", review: "hold", held: "hold", sending: "info", unknown: "warn",
  sent: "info", delivered: "good", failed: "bad", skipped: "neutral", cancelled: "neutral",
};

export function campaignStatus(status: CampaignStatus): string {
  return {
    draft: t("Draft"), scheduled: t("Scheduled"), running: t("Running"), paused: t("Paused"),
    blocked: t("Blocked"), completed: t("Completed"), cancelled: t("Cancelled"),
  }[status];
}

export const CAMPAIGN_TONE: Record<CampaignStatus, Tone> = {
  draft: "neutral", scheduled: "info", running: "good", paused: "warn", blocked: "bad", completed: "neutral", cancelled: "neutral",
};

export function importStatus(status: ImportStatus): string {
  return { pending: t("Waiting"), running: t("Running"), completed: t("Completed"), failed: t("Failed"), cancelled: t("Cancelled") }[status];
}

export const IMPORT_TONE: Record<ImportStatus, Tone> = {
  pending: "info", running: "info", completed: "good", failed: "bad", cancelled: "neutral",
};

export function messageStatus(status: MessageStatus): string {
  return {
    received: t("Received"), queued: t("Waiting"), sending: t("Sending"), unknown: t("Unclear"), sent: t("Sent"),
    failed: t("Failed"), undelivered: t("Undelivered"), delivered: t("Delivered"),
  }[status];
}

/**
 * Return a name of the API in words: `opt_out_hold` becomes "Opt-out hold". Use it for a name that
 * has no sentence of its own.
 */
export function plain(code: string | null | undefined): string {
  if (!code) return "–";
  const text = code.replaceAll("opt_out", "opt-out").replaceAll("opted_out", "opted out").replaceAll("_", " ");
  return text[0]!.toUpperCase() + text.slice(1);
}
