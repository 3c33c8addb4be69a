/** The addresses of the console. `routers/http/console_pages.py` has the same list. */
import {
  createRootRoute,
  createRoute,
  createRouter,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { currentSession } from "./session";
import { Shell } from "./shell/shell";
import { AcceptInvitation, Broken, NotFound, ResetPassword, SignIn, Welcome } from "./screens/gate";
import { lazyRouteComponent } from "./ui/lazy-screen";

type Text = string | undefined;
const text = (value: unknown): Text => (typeof value === "string" && value ? value : typeof value === "number" ? String(value) : undefined);

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: currentSession().state === "in" ? "/today" : "/sign-in", replace: true });
  },
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search): { next?: string } => {
    const next = text(search.next);
    // Accept only addresses of this console. "//host" would be an address of another site.
    return next?.startsWith("/") && !next.startsWith("//") ? { next } : {};
  },
  beforeLoad: ({ search }) => {
    if (currentSession().state === "in") throw redirect({ href: search.next ?? "/", replace: true });
  },
  component: function Page() {
    return <SignIn next={signIn.useSearch().next ?? "/"} />;
  },
});

const welcome = createRoute({ getParentRoute: () => root, path: "/welcome", component: Welcome });
const accept = createRoute({ getParentRoute: () => root, path: "/accept-invitation", component: AcceptInvitation });
const reset = createRoute({ getParentRoute: () => root, path: "/reset-password", component: ResetPassword });

const shell = createRoute({
  getParentRoute: () => root,
  id: "shell",
  component: Shell,
  beforeLoad: ({ location }) => {
    if (currentSession().state !== "in") {
      throw redirect({ to: "/sign-in", search: location.href === "/" ? {} : { next: location.href }, replace: true });
    }
  },
});

const VIEWS = ["unread", "mine", "open", "snoozed", "done"] as const;
export type InboxSearch = { view?: (typeof VIEWS)[number]; q?: string; message?: string };
const inbox = createRoute({
  getParentRoute: () => shell,
  path: "/inbox",
  validateSearch: (search): InboxSearch => {
    const view = VIEWS.find((one) => one === search.view);
    const q = text(search.q);
    const message = text(search.message);
    return { ...(view ? { view } : {}), ...(q ? { q } : {}), ...(message ? { message } : {}) };
  },
  component: lazyRouteComponent(() => import("./screens/inbox"), "Inbox"),
});
const noThread = createRoute({
  getParentRoute: () => inbox,
  path: "/",
  component: lazyRouteComponent(() => import("./screens/inbox"), "NoConversation"),
});
const thread = createRoute({
  getParentRoute: () => inbox,
  path: "$id",
  component: lazyRouteComponent(() => import("./screens/thread"), "Thread"),
});

export type ContactSearch = {
  q?: string; tag?: string; list?: string; opted_out?: string; flag?: string; state?: string; sort?: string; segment?: string; pick?: string;
};
const contacts = createRoute({
  getParentRoute: () => shell,
  path: "/contacts",
  validateSearch: (search): ContactSearch => ({
    q: text(search.q), tag: text(search.tag), list: text(search.list), opted_out: text(search.opted_out),
    flag: text(search.flag), state: text(search.state), sort: text(search.sort), segment: text(search.segment),
    pick: text(search.pick),
  }),
  component: lazyRouteComponent(() => import("./screens/contacts"), "Contacts"),
});
const contact = createRoute({
  getParentRoute: () => shell,
  path: "/contacts/$id",
  validateSearch: (search): { merge?: string } => {
    const merge = text(search.merge);
    return merge ? { merge } : {};
  },
  component: lazyRouteComponent(() => import("./screens/contact"), "Contact"),
});
const segments = createRoute({
  getParentRoute: () => shell,
  path: "/segments",
  validateSearch: (search): { id?: string } => {
    const id = text(search.id);
    return id ? { id } : {};
  },
  component: lazyRouteComponent(() => import("./screens/segments"), "Segments"),
});
const importKind = (search: Record<string, unknown>): { kind?: "do_not_contact" } => (search.kind === "do_not_contact" ? { kind: "do_not_contact" } : {});
const imports = createRoute({
  getParentRoute: () => shell,
  path: "/imports",
  validateSearch: importKind,
  component: lazyRouteComponent(() => import("./screens/imports"), "Imports"),
});
const newImport = createRoute({
  getParentRoute: () => shell,
  path: "/imports/new",
  component: lazyRouteComponent(() => import("./screens/import-new"), "NewImport"),
});
const oneImport = createRoute({
  getParentRoute: () => shell,
  path: "/imports/$id",
  validateSearch: importKind,
  component: lazyRouteComponent(() => import("./screens/import-wizard"), "ImportPage"),
});
export type CampaignSearch = { q?: string; status?: string; archived?: string; line?: string; since?: string; sort?: string };
const campaigns = createRoute({
  getParentRoute: () => shell,
  path: "/campaigns",
  validateSearch: (search): CampaignSearch => ({
    q: text(search.q), status: text(search.status), archived: text(search.archived), line: text(search.line), since: text(search.since), sort: text(search.sort),
  }),
  component: lazyRouteComponent(() => import("./screens/campaigns"), "Campaigns"),
});
const newCampaign = createRoute({
  getParentRoute: () => shell,
  path: "/campaigns/new",
  validateSearch: (search): { draft?: string; list?: string; segment?: string } => ({ draft: text(search.draft), list: text(search.list), segment: text(search.segment) }),
  component: lazyRouteComponent(() => import("./screens/composer"), "NewCampaign"),
});
export type RecipientSearch = {
  status?: string; variant?: string; step?: string; q?: string; replied?: string; opted_out?: string; parked?: string; skip_reason?: string; person?: string;
};
const campaign = createRoute({
  getParentRoute: () => shell,
  path: "/campaigns/$id",
  validateSearch: (search): RecipientSearch => ({
    status: text(search.status), variant: text(search.variant), step: text(search.step), q: text(search.q), replied: text(search.replied),
    opted_out: text(search.opted_out), parked: text(search.parked), skip_reason: text(search.skip_reason), person: text(search.person),
  }),
  component: lazyRouteComponent(() => import("./screens/campaign"), "Campaign"),
});

const today = createRoute({
  getParentRoute: () => shell,
  path: "/today",
  component: lazyRouteComponent(() => import("./screens/today"), "Today"),
});
const CALENDAR_VIEWS = ["month", "week", "day", "list"] as const;
export type CalendarSearch = {
  show?: (typeof CALENDAR_VIEWS)[number]; date?: string; who?: string; appointment?: string; book?: string; part?: string;
};
const calendar = createRoute({
  getParentRoute: () => shell,
  path: "/calendar",
  validateSearch: (search): CalendarSearch => {
    const show = CALENDAR_VIEWS.find((one) => one === search.show);
    const month = text(search.month);
    const date = text(search.date) ?? (month && `${month}-01`);
    return {
      ...(show ? { show } : {}),
      ...(date && /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/.test(date) ? { date } : {}),
      who: text(search.who), appointment: text(search.appointment), book: text(search.book), part: text(search.part),
    };
  },
  component: lazyRouteComponent(() => import("./screens/calendar"), "Calendar"),
});
/** The query parameters of the Insight screen: the part, the figure, the filters and the period. */
const INSIGHT = [
  "part", "measure", "by", "bucket", "period", "from", "last", "zone", "campaign", "line", "list", "compare", "open", "stage", "days", "width", "kind", "source", "step",
] as const;
export type InsightSearch = { [name in (typeof INSIGHT)[number]]?: Text } & { rules?: number | undefined };
const insight = createRoute({
  getParentRoute: () => shell,
  path: "/insight",
  validateSearch: (search): InsightSearch => ({
    ...Object.fromEntries(INSIGHT.map((name) => [name, text(search[name])])),
    ...(Number.isInteger(search.rules) ? { rules: search.rules as number } : {}),
  }),
  component: lazyRouteComponent(() => import("./screens/insight"), "Insight"),
});
const templates = createRoute({
  getParentRoute: () => shell,
  path: "/templates",
  validateSearch: (search): { id?: string; status?: string; category?: string } => ({ id: text(search.id), status: text(search.status), category: text(search.category) }),
  component: lazyRouteComponent(() => import("./screens/templates"), "Templates"),
});
export type OperationsSearch = { part?: string; status?: string; actor?: string; action?: string; since?: string };
const part = (search: Record<string, unknown>): { part?: string } => {
  const name = text(search.part);
  return name ? { part: name } : {};
};
const operations = createRoute({
  getParentRoute: () => shell,
  path: "/operations",
  validateSearch: (search): OperationsSearch => ({
    part: text(search.part), status: text(search.status), actor: text(search.actor), action: text(search.action), since: text(search.since),
  }),
  component: lazyRouteComponent(() => import("./screens/operations"), "Operations"),
});
const settings = createRoute({
  getParentRoute: () => shell,
  path: "/settings",
  validateSearch: part,
  component: lazyRouteComponent(() => import("./screens/settings"), "Settings"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    home, signIn, welcome, accept, reset,
    shell.addChildren([today, calendar, insight, inbox.addChildren([noThread, thread]), contacts, contact, segments, imports, newImport, oneImport, campaigns, newCampaign, campaign, templates, operations, settings]),
  ]),
  defaultPreload: "intent",
  defaultNotFoundComponent: NotFound,
  defaultErrorComponent: Broken,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
