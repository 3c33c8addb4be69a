/** The person beside the thread: tasks, consent, property, campaigns, appointments, quotes. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { data } from "../../api/client";
import { getConsentHistory, listAppointments, listInvoices, listPropertiesOfContact, listQuotes } from "../../api/generated";
import type { Conversation } from "../../api/inbox";
import { now } from "../../clock";
import { dollars, personName, phone, when } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Badge, Time } from "../../ui/parts";
import { billStatus, consentName, flagName } from "../../ui/code-names";
import { appointmentKind, appointmentStatus } from "../../ui/sales-words";
import { recipientStatus } from "../../ui/words";
import { useTimeline } from "./messages";
import { contactOf } from "./prefetch";
import { Tasks } from "./tasks";
import { Actor } from "../../ui/actor";

export function Person({ conversation }: { conversation: Conversation }) {
  const id = conversation.contact?.id;
  const person = useQuery({ ...contactOf(id ?? ""), enabled: !!id && may("contacts:read") });
  const one = person.data;
  if (!id) return <p className="faint">{t("No contact has this number.")}</p>;
  if (!one) return null;
  return (
    <>
      <h2><Link to="/contacts/$id" params={{ id: one.id }} className="row-name">{personName(one)}</Link></h2>
      <dl className="facts">
        <div><dt>{t("Phone")}</dt><dd className="number">{phone(one.phone)}</dd></div>
        {one.email && <div><dt>{t("E-mail")}</dt><dd>{one.email}</dd></div>}
        {one.address.city && <div><dt>{t("Address")}</dt><dd>{[one.address.street, one.address.city, one.address.state].filter(Boolean).join(", ")}</dd></div>}
        {one.timezone && <div><dt>{t("Their time")}</dt><dd>{when(new Date(now()).toISOString(), one.timezone)}</dd></div>}
        {one.tags.length > 0 && <div><dt>{t("Tags")}</dt><dd>{one.tags.join(", ")}</dd></div>}
      </dl>
      <Tasks conversation={conversation} />
      <Consent id={id} isOut={one.opted_out} flags={one.flags} />
      <Properties id={id} />
      <Campaigns id={id} conversation={conversation} />
      {may("sales:read") && <Sales id={id} />}
      <Link to="/contacts/$id" params={{ id: one.id }} className="link">{t("Open the contact")}</Link>
    </>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      {children}
    </section>
  );
}

function Consent({ id, isOut, flags }: { id: string; isOut: boolean; flags: string[] }) {
  const found = useQuery({
    queryKey: ["contact", id, "consent"],
    queryFn: () => data(getConsentHistory({ path: { contact_id: id }, query: { limit: 3 }, throwOnError: true })),
  });
  const others = flags.filter((one) => one !== "opted_out");
  return (
    <Part title={t("Consent")}>
      <p>
        {isOut ? <Badge tone="bad">{t("Opted out")}</Badge> : others.length === 0 && <Badge tone="good">{t("May be texted")}</Badge>}{" "}
        {others.map((one) => <Badge key={one} tone="hold">{flagName(one)}</Badge>)}
      </p>
      <ul className="aside-list">
        {(found.data?.data ?? []).map((one) => (
          <li key={one.id}><span>{consentName(one.action)} · <Actor who={one.actor} /></span> <Time at={one.occurred_at} relative /></li>
        ))}
      </ul>
    </Part>
  );
}

function Properties({ id }: { id: string }) {
  const found = useQuery({
    queryKey: ["properties", id],
    queryFn: () => data(listPropertiesOfContact({ path: { contact_id: id }, query: { limit: 5 }, throwOnError: true })),
  });
  const rows = found.data?.data ?? [];
  if (!rows.length) return null;
  return (
    <Part title={t("Property")}>
      <ul className="aside-list">
        {rows.map((one) => (
          <li key={one.id}><span>{[one.address.street, one.address.city, one.year_built && t("built {year}", { year: String(one.year_built) }), one.property_type].filter(Boolean).join(" · ")}</span></li>
        ))}
      </ul>
    </Part>
  );
}

function Campaigns({ id, conversation }: { id: string; conversation: Conversation }) {
  const timeline = useTimeline(id);
  const steps = (timeline.data?.data ?? []).filter((one) => one.type === "campaign_step");
  const shown = steps.slice(0, 5);
  const answered = conversation.campaign;
  if (!shown.length && !answered) return null;
  return (
    <Part title={t("Campaigns")}>
      <ul className="aside-list">
        {answered && !shown.some((one) => one.campaign_id === answered.id) && (
          <li><Link to="/campaigns/$id" params={{ id: answered.id }} search={{}}>{answered.name}</Link></li>
        )}
        {shown.map((one) => (
          <li key={one.id}>
            <Link to="/campaigns/$id" params={{ id: one.campaign_id }} search={{}}>{one.campaign_name}</Link>{" "}
            <span className="faint">{one.step > 0 ? `${t("follow-up {n}", { n: one.step })} · ` : ""}{recipientStatus(one.status)}</span> <Time at={one.at} relative />
          </li>
        ))}
      </ul>
    </Part>
  );
}

function Sales({ id }: { id: string }) {
  const appointments = useQuery({
    queryKey: ["appointments", "contact", id],
    queryFn: () => data(listAppointments({ query: { contact_id: id, limit: 5 }, throwOnError: true })),
  });
  const quotes = useQuery({ queryKey: ["quotes", "contact", id], queryFn: () => data(listQuotes({ query: { contact_id: id, limit: 5 }, throwOnError: true })) });
  const invoices = useQuery({ queryKey: ["invoices", "contact", id], queryFn: () => data(listInvoices({ query: { contact_id: id, limit: 5 }, throwOnError: true })) });
  const booked = appointments.data?.data ?? [];
  const bills = [
    ...(quotes.data?.data ?? []).map((one) => ({ ...one, word: t("Quote") })),
    ...(invoices.data?.data ?? []).map((one) => ({ ...one, word: t("Invoice") })),
  ];
  return (
    <>
      {booked.length > 0 && (
        <Part title={t("Appointments")}>
          <ul className="aside-list">
            {booked.map((one) => <li key={one.id}><span>{appointmentKind(one.kind)} · {appointmentStatus(one.status)}</span> <Time at={one.starts_at} zone={one.timezone} /></li>)}
          </ul>
        </Part>
      )}
      {bills.length > 0 && (
        <Part title={t("Quotes and invoices")}>
          <ul className="aside-list">
            {bills.map((one) => <li key={one.id}><span>{one.word} {one.number} · {billStatus(one.status)}</span> <b className="number">{dollars(one.amount_cents / 100)}</b></li>)}
          </ul>
        </Part>
      )}
    </>
  );
}
