import type { IconName } from "../ui/icons";

type Place = { to: string; name: string; icon: IconName; scope?: string };

/** The links of the navigation, in their order; only screens that exist. */
export const PLACES: Place[] = [
  { to: "/today", name: "Today", icon: "today" },
  { to: "/inbox", name: "Inbox", icon: "inbox", scope: "messages:read" },
  { to: "/contacts", name: "Contacts", icon: "contacts", scope: "contacts:read" },
  { to: "/campaigns", name: "Campaigns", icon: "campaigns", scope: "campaigns:read" },
  { to: "/calendar", name: "Calendar", icon: "calendar", scope: "campaigns:read" },
  { to: "/insight", name: "Insight", icon: "insight", scope: "insight:read" },
  { to: "/imports", name: "Imports", icon: "imports", scope: "contacts:read" },
  { to: "/templates", name: "Templates", icon: "templates", scope: "campaigns:read" },
  { to: "/operations", name: "Operations", icon: "operations", scope: "operations" },
  { to: "/settings", name: "Settings", icon: "settings" },
];
