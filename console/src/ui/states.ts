/** Names of states and roles in operations and settings. Others are shown by their code. */
import { t } from "../i18n";
import { plain } from "./words";

export function stateName(code: string | null | undefined): string {
  const names: Record<string, string> = {
    ok: t("Well"), passed: t("Passed"), alive: t("Alive"), completed: t("Completed"), processed: t("Applied"), delivered: t("Delivered"), active: t("Active"), agreed: t("Agreed"), recovered: t("Recovered"),
    failed: t("Failed"), failing: t("Failing"), dead: t("Given up"), silent: t("Silent"), unavailable: t("Not available"), blocked: t("Blocked"), disabled: t("Disabled"), open: t("Unresolved"), revoked: t("Revoked"), expired: t("Expired"),
    degraded: t("Not well"), overdue: t("Overdue"), waiting: t("Waiting"), running: t("Running"), pending: t("Waiting"), invited: t("Invited"), acknowledged: t("Somebody takes care"), resolved: t("Resolved"), new: t("New"),
    ignored: t("Not needed"), stopped: t("Stopped"), daily: t("Daily"), outage: t("After an outage"), manual: t("By hand"), import: t("Import"),
    owner: t("Owner"), manager: t("Manager"), agent: t("Agent"), viewer: t("Viewer"), marketer: t("Marketer"),
  };
  return (code && names[code]) || plain(code);
}
