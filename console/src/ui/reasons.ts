/** Short names of the rules that stop or delay a message. Other rules are shown by their code. */
import { t } from "../i18n";
import { plain } from "./words";

export function reason(code: string | null | undefined): string {
  const names: Record<string, string> = {
    opted_out: t("Opted out"), do_not_contact: t("Do not contact"), opt_out_hold: t("Perhaps an opt-out; somebody must decide"), contact_deleted: t("Contact deleted"),
    invalid_number: t("Number does not work"), landline: t("Landline"), outside_hours: t("Outside the legal hours"), too_many_messages: t("Too many messages in a short time"), duplicate_number: t("The same number twice"), merged: t("Merged into another recipient"),
    previously_contacted: t("Got a message before"), rejected: t("Left out in the review"), replied: t("Replied, so no follow-up"), called: t("Called, so no follow-up"),
    previous_failed: t("The message before failed"), campaign_ended: t("The campaign ended first"), texted_since_backup: t("Perhaps sent before the restore"),
    missing_value: t("A value for the message is missing"), missing_identification: t("The message would not name you"), text_failed: t("The message could not be made"),
    holdout: t("Kept back to compare"), review: t("Waits for your review"), held: t("On hold until somebody decides"), parked: t("Needs a decision"),
    campaign_draft: t("The campaign is a draft"), campaign_paused: t("The campaign is paused"), campaign_scheduled: t("The campaign has not begun"), campaign_blocked: t("The provider refused the campaign"),
    line_blocked: t("The line is blocked"), line_daily_limit: t("Daily limit of the line"), line_ramp: t("The line is being warmed up"), campaign_daily_limit: t("Daily limit of the campaign"),
    carrier_budget: t("Budget of the carrier"), min_days_between: t("Days between campaigns"), frequency_cap: t("Too many messages in a short time"), legal_frequency: t("Legal limit of messages"),
    outside_schedule: t("Outside the days and hours"), outside_legal_hours: t("Outside the legal hours"), pacing: t("Pace of the campaign"), follow_up_waits: t("The follow-up waits"),
    number_busy: t("Another message to the number is under way"), other_campaigns: t("Other campaigns of the line"), provider_rate: t("Rate of the provider"), opt_out_rate: t("Too many opt-outs"), failure_rate: t("Too many failures"),
    sending: t("Being sent"), unknown: t("Not known yet whether it was sent"), sent: t("Sent"), delivered: t("Delivered"), failed: t("Failed"), skipped: t("Skipped"), cancelled: t("Campaign cancelled"), not_started: t("The campaign has not begun"), campaign_completed: t("The campaign is completed"),
    campaign_cancelled: t("The campaign was cancelled"), campaign_ends: t("The campaign ends before that"), missed_start: t("The start time was missed"), restored: t("The database was restored"), empty_audience: t("Nobody in the audience may get a message"), line_on_trial: t("The line is on trial"), provider_asked_to_wait: t("The provider asked for a pause"), number_kept: t("Perhaps another message was sent to the number"), waiting: t("Waits for the next attempt"),
  };
  return (code && names[code]) || plain(code);
}
