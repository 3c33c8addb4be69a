/** The first screen: money and people that wait, then the day, campaigns, lines and alerts. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { data } from "../api/client";
import { getToday, updateTask } from "../api/generated";
import { ago, count, currentZone, dollars, personName, phone } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Badge, Failed, Loading, Meter, PageHead, Time } from "../ui/parts";
import { fail } from "../ui/toasts";
import { TruthBar } from "../ui/truth";
import { CAMPAIGN_TONE, campaignStatus, plain } from "../ui/words";
import "./today.css";

/** All parts in one call; a part without its scope is null. */
const useToday = () =>
  useQuery({ queryKey: ["today"], queryFn: () => data(getToday({ query: { timezone: currentZone() }, throwOnError: true })), refetchInterval: 60_000 });

type PartProps = {
  title: string;
  figure?: string | undefined;
  query: { isPending: boolean; isError: boolean; error: unknown };
  empty: string;
  isEmpty: boolean;
  more?: ReactNode;
  children: ReactNode;
};

function Part({ title, figure, query, empty, isEmpty, more, children }: PartProps) {
  return (
    <section className="card today-part" aria-label={title}>
      <div className="card-head">
        <h2>
          {title} {figure && <span className="number faint">{figure}</span>}
        </h2>
        {more}
      </div>
      {query.isPending ? <Loading lines={3} /> : query.isError ? <Failed error={query.error} /> : isEmpty ? <p className="card-body faint">{empty}</p> : children}
    </section>
  );
}

export function Today() {
  return (
    <>
      <PageHead title={t("Today")}>
        <span className="faint">{new Intl.DateTimeFormat(document.documentElement.lang, { weekday: "long", month: "long", day: "numeric", timeZone: currentZone() }).format(new Date())}</span>
      </PageHead>
      <div className="today">
        <div className="today-column">
          {may("sales:read") && <Money />}
          {may("messages:read") && <People />}
          {may("contacts:read") && <Tasks />}
        </div>
        <div className="today-column">
          {may("sales:read") && <Appointments />}
          {may("campaigns:read") && <Running />}
          {may("campaigns:read") && <Lines />}
          {may("operations") && <Alerts />}
        </div>
      </div>
    </>
  );
}

function Money() {
  const query = useToday();
  const money = query.data?.money;
  const rows = [
    ...(money?.approved_quotes.first ?? []).map((one) => ({ ...one, word: t("Quote approved") })),
    ...(money?.unpaid_invoices.first ?? []).map((one) => ({ ...one, word: t("Invoice unpaid") })),
  ];
  const sums = [...(money?.approved_quotes.sums ?? []), ...(money?.unpaid_invoices.sums ?? [])];
  const cents = sums.filter((one) => one.currency === "USD").reduce((all, one) => all + one.amount_cents, 0);
  return (
    <Part title={t("Money waiting")} figure={cents ? dollars(cents / 100) : undefined} query={query} isEmpty={rows.length === 0} empty={t("No approved quote and no unpaid invoice waits.")}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <span>{one.contact_id ? <Link to="/contacts/$id" params={{ id: one.contact_id }}>{`${one.word} ${one.number}`}</Link> : `${one.word} ${one.number}`}</span>
            <b className="number">{dollars(one.amount_cents / 100)}</b>
          </li>
        ))}
      </ul>
    </Part>
  );
}

function People() {
  const query = useToday();
  const people = query.data?.people;
  const rows = people?.waiting_longest ?? [];
  return (
    <Part
      title={t("People waiting")}
      figure={people?.counts.waiting ? count(people.counts.waiting) : undefined}
      query={query}
      isEmpty={rows.length === 0}
      empty={t("Everybody has an answer.")}
      more={<Link to="/inbox" search={{}} className="link">{t("All")}</Link>}
    >
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id} className="row">
            <Link to="/inbox/$id" params={{ id: one.id }} search={{}} className="row-link">
              {one.contact ? personName({ ...one.contact, phone: one.phone }) : phone(one.phone)}
            </Link>
            <span className="rows-text">{one.last_message?.body_preview}</span>
            <time className="waiting" dateTime={one.waiting_since ?? ""}>{one.waiting_since ? ago(one.waiting_since) : ""}</time>
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Tasks() {
  const cache = useQueryClient();
  const query = useToday();
  const done = useMutation({
    mutationFn: (id: string) => data(updateTask({ path: { task_id: id }, body: { done_at: new Date().toISOString() }, throwOnError: true })),
    onSettled: () => {
      for (const key of ["tasks", "today"]) void cache.invalidateQueries({ queryKey: [key] });
    },
    onError: fail,
  });
  const tasks = query.data?.tasks;
  const rows = tasks?.first ?? [];
  return (
    <Part title={t("Tasks due")} figure={tasks?.due ? count(tasks.due) : undefined} query={query} isEmpty={rows.length === 0} empty={t("No task is due today.")}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <label className="check">
              <input type="checkbox" disabled={done.isPending || !may("contacts:write")} onChange={() => done.mutate(one.id)} />
              {one.title}
            </label>
            {one.contact_id && <Link to="/contacts/$id" params={{ id: one.contact_id }} className="link">{t("Contact")}</Link>}
            <span className={one.overdue ? "task-late" : "faint"}><Time at={one.due_at} /></span>
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Appointments() {
  const query = useToday();
  const rows = query.data?.appointments ?? [];
  return (
    <Part title={t("Appointments today")} query={query} isEmpty={rows.length === 0} empty={t("No appointment today.")}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <Time at={one.starts_at} zone={one.timezone} />
            <span className="rows-text">{[one.contact_name, plain(one.kind), one.location].filter(Boolean).join(" · ")}</span>
            {one.contact_id && <Link to="/contacts/$id" params={{ id: one.contact_id }} className="link">{t("Open")}</Link>}
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Running() {
  const query = useToday();
  const rows = query.data?.campaigns ?? [];
  return (
    <Part title={t("Campaigns")} query={query} isEmpty={rows.length === 0} empty={t("No campaign is running.")} more={<Link to="/campaigns" search={{}} className="link">{t("All")}</Link>}>
      <ul className="rows">
        {rows.map((one) => {
          const { counts } = one;
          const parts = { delivered: counts.delivered, sent: Math.max(0, counts.sent - counts.delivered), failed: counts.failed, pending: counts.pending, sending: 0, unknown: 0, held: 0, review: 0, skipped: 0, cancelled: 0 };
          return (
            <li key={one.id} className="row today-campaign">
              <span>
                <Link to="/campaigns/$id" params={{ id: one.id }} search={{}} className="row-link">{one.name}</Link> <Badge tone={CAMPAIGN_TONE[one.status]}>{campaignStatus(one.status)}</Badge>
              </span>
              <TruthBar counts={parts} total={counts.recipients} label={t("{sent} of {all} sent", { sent: count(counts.sent), all: count(counts.recipients) })} />
              <span className="faint number">{t("{sent} of {all} sent", { sent: count(counts.sent), all: count(counts.recipients) })} · {t("{n} replied", { n: count(counts.replied) })}</span>
            </li>
          );
        })}
      </ul>
    </Part>
  );
}

function Lines() {
  const query = useToday();
  const rows = query.data?.lines ?? [];
  return (
    <Part title={t("Lines today")} query={query} isEmpty={rows.length === 0} empty={t("No line yet. Read them from the provider in the settings.")}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id} className="today-line">
            <span>{one.name || phone(one.number)} {one.status === "blocked" && <Badge tone="bad">{t("Blocked")}</Badge>}</span>
            <span className="faint number">{t("{n} of {limit} today", { n: count(one.sent_today), limit: count(one.limit_today) })}</span>
            <Meter value={one.sent_today} of={one.limit_today} label={t("Sent today by {name}", { name: one.name })} tone={one.sent_today >= one.limit_today ? "warn" : "info"} />
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Alerts() {
  const query = useToday();
  const rows = query.data?.alerts ?? [];
  return (
    <Part title={t("Alerts")} query={query} isEmpty={rows.length === 0} empty={t("Nothing needs you.")} more={<Link to="/operations" search={{}} className="link">{t("All")}</Link>}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <span className="rows-text"><strong>{plain(one.kind)}</strong> {one.detail}</span>
            <Time at={one.last_seen_at} relative />
          </li>
        ))}
      </ul>
    </Part>
  );
}
