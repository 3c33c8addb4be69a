import { t } from "../i18n";
import { may } from "../session";
import type { IconName } from "../ui/icons";

type Place = { to: string; name: string; icon: IconName; scope?: string; or?: string; key: string };

/**
 * The links of the navigation, in order. The keys G and then `key` open a link. The user needs
 * `scope` or the scope `or`.
 */
const PLACES: Place[] = [
  { to: "/today", name: "Today", icon: "today", key: "t" },
  { to: "/inbox", name: "Inbox", icon: "inbox", scope: "messages:read", key: "i" },
  { to: "/contacts", name: "Contacts", icon: "contacts", scope: "contacts:read", key: "c" },
  { to: "/campaigns", name: "Campaigns", icon: "campaigns", scope: "campaigns:read", key: "a" },
  { to: "/calendar", name: "Calendar", icon: "calendar", scope: "campaigns:read", or: "sales:read", key: "d" },
  { to: "/insight", name: "Insight", icon: "insight", scope: "insight:read", key: "n" },
  { to: "/imports", name: "Imports", icon: "imports", scope: "contacts:read", key: "m" },
  { to: "/templates", name: "Templates", icon: "templates", scope: "campaigns:read", key: "e" },
  { to: "/operations", name: "Operations", icon: "operations", scope: "operations", key: "o" },
  { to: "/settings", name: "Settings", icon: "settings", key: "s" },
];

/** Return the links that the scopes of the user allow. */
export function allowedPlaces(): Place[] {
  return PLACES.filter((one) => !one.scope || may(one.scope) || (one.or !== undefined && may(one.or)));
}

/** Return links to parts of screens and to forms. Only the command palette offers these links. */
export function deepPlaces(): { to: string; name: string; scope?: string }[] {
  return [
    { to: "/campaigns/new", name: t("New campaign"), scope: "campaigns:write" },
    { to: "/imports/new", name: t("Import a file"), scope: "contacts:write" },
    { to: "/inbox?view=mine", name: t("Inbox: mine"), scope: "messages:read" },
    { to: "/inbox?view=snoozed", name: t("Inbox: snoozed"), scope: "messages:read" },
    { to: "/settings?part=lines", name: t("Settings: lines"), scope: "admin" },
    { to: "/settings?part=people", name: t("Settings: users"), scope: "admin" },
    { to: "/settings?part=keys", name: t("Settings: API keys"), scope: "admin" },
    { to: "/settings?part=webhooks", name: t("Settings: webhooks"), scope: "admin" },
    { to: "/settings?part=you", name: t("Settings: your preferences") },
  ];
}
