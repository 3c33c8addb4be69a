/** Names of the fields on the screens, by the names of the fields that the API uses in sentences. */
import { t } from "../i18n";

/** Return the name of a field on the screens; undefined if no screen shows the field. */
export function screenName(field: string): string | undefined {
  const names: Record<string, string> = {
    start_at: t("First message"), end_at: t("No message after"), send_at: t("Send later"), snoozed_until: t("Snooze"), starts_at: t("Begins"),
    test_numbers: t("Own numbers for test messages"), ramp_plan: t("Limits of the first days"), daily_limit: t("Messages a day, at most"),
    min_days_between: t("Days since the last campaign"), previously_contacted: t("People who got a message from you before"),
    opt_out_footer: t("Added below the first message"), for_known: t("Message for people who know you"), list_name: t("Put everybody on this list"),
    mapping: t("Columns"),
  };
  return names[field];
}
