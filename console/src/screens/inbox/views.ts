/** The views of the inbox, and the query parameters that each view sends to the API. */
import type { Counts } from "../../api/inbox";
import { t } from "../../i18n";

export type View = "waiting" | "unread" | "mine" | "open" | "snoozed" | "done";

export const FILTERS: Record<View, Record<string, string | boolean>> = {
  waiting: { state: "waiting", sort: "waiting_longest" },
  unread: { state: "waiting,open", unread: true },
  mine: { state: "waiting,open", assignee: "me", sort: "waiting_longest" },
  open: { state: "waiting,open" },
  snoozed: { state: "snoozed" },
  done: { state: "done" },
};

export function viewNames(): [View, string, keyof Counts | null][] {
  return [
    ["waiting", t("Waiting"), "waiting"],
    ["unread", t("Unread"), "unread"],
    ["mine", t("Mine"), "mine"],
    ["open", t("All open"), null],
    ["snoozed", t("Snoozed"), "snoozed"],
    ["done", t("Done"), null],
  ];
}
