/** The results of a contact: engagement with its reasons, appointments, quotes and outcomes. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import {
  getEngagement, listAppointments, listOutcomes, listQuotes, recordOutcome, reverseOutcome,
  type EngagementReasonRead, type OutcomeCreate, type OutcomeKind, type OutcomeRead, type QuoteStatus,
} from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { now } from "../clock";
import { currentZone, dollars } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Badge, Button, Doubt, Field, Time, type Tone } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { APPOINTMENT_TONE, appointmentKind, appointmentStatus, outcomeKind, OUTCOME_KINDS, quoteStatus } from "../ui/sales-words";
import { dateOf, instantOf, localOf } from "../ui/zoned";
import { useRefresh } from "./contact-refresh";

const GRADES: Record<string, Tone> = { A: "good", B: "good", C: "info", D: "warn" };

export function Engagement({ id }: { id: string }) {
  const found = useQuery({ queryKey: ["engagement", id], queryFn: () => data(getEngagement({ path: { contact_id: id }, throwOnError: true })) });
  return (
    <section className="side-part" aria-labelledby="engagement-title">
      <header>
        <h2 id="engagement-title">{t("Engagement")}</h2>
        {found.data && <Badge tone={GRADES[found.data.grade] ?? "neutral"}>{t("{grade} · {score} of 100", { grade: found.data.grade, score: found.data.score })}</Badge>}
      </header>
      {found.isError && <p className="field-error" role="alert">{sentenceOf(found.error)}</p>}
      {found.data && !found.data.reasons.length && <p className="faint">{t("Nothing has happened that says how engaged the person is.")}</p>}
      {found.data && found.data.reasons.length > 0 && (
        <ul className="reasons">
          {found.data.reasons.map((one) => (
            <li key={one.factor}>
              <b className="number">{one.points > 0 ? `+${one.points}` : one.points}</b>
              <span>{reasonOf(one)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** Return a reason for the engagement score as a sentence, in the language of the screen. */
function reasonOf({ factor, because, count }: EngagementReasonRead): string {
  if (factor === "opted_out") return t("The person opted out and gets no messages.");
  if (count === null) return because;
  return {
    recent: t("{n, plural, =0 {The last reply or call was less than a day ago.} one {The last reply or call was a day ago.} other {The last reply or call was # days ago.}}", { n: count }),
    replies: t("{n, plural, one {The person replied once.} other {The person replied # times.}}", { n: count }),
    appointments: t("Appointments and quotes: {n}.", { n: count }),
    bought: t("Done jobs and paid invoices: {n}.", { n: count }),
    ignored: t("Campaign messages without a reply: {n}.", { n: count }),
  }[factor];
}

const QUOTE_TONE: Record<QuoteStatus, Tone> = { draft: "neutral", sent: "info", approved: "good", declined: "bad" };

export function Sales({ id }: { id: string }) {
  return (
    <>
      {may("sales:read") && <Appointments id={id} />}
      {may("sales:read") && <Quotes id={id} />}
      {may("insight:read") && <Outcomes id={id} />}
    </>
  );
}

function Appointments({ id }: { id: string }) {
  const found = useQuery({
    queryKey: ["appointments", "contact", id],
    queryFn: () => data(listAppointments({ query: { contact_id: id, limit: 50 }, throwOnError: true })),
  });
  const zone = currentZone();
  const rows = found.data?.data.toReversed() ?? [];
  return (
    <section className="side-part" aria-labelledby="appointments-title">
      <header>
        <h2 id="appointments-title">{t("Appointments")}</h2>
        {may("sales:write") && (
          <Link to="/calendar" search={{ book: id }} className="link">{t("Book")}</Link>
        )}
      </header>
      {found.isError && <p className="field-error" role="alert">{sentenceOf(found.error)}</p>}
      {found.data && !rows.length && <p className="faint">{t("No appointment.")}</p>}
      <ul className="sales">
        {rows.map((one) => (
          <li key={one.id}>
            <Link to="/calendar" search={{ show: "day", date: dateOf(one.starts_at, zone), appointment: one.id }}>{appointmentKind(one.kind)}</Link>
            <Badge tone={APPOINTMENT_TONE[one.status]}>{appointmentStatus(one.status)}</Badge>
            <span className="faint"><Time at={one.starts_at} />{one.assignee_name ? ` · ${one.assignee_name}` : ""}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Quotes({ id }: { id: string }) {
  const found = useQuery({
    queryKey: ["quotes", "contact", id],
    queryFn: () => data(listQuotes({ query: { contact_id: id, limit: 50 }, throwOnError: true })),
  });
  if (found.data && !found.data.data.length) return null;
  return (
    <section className="side-part" aria-labelledby="quotes-title">
      <h2 id="quotes-title">{t("Quotes")}</h2>
      {found.isError && <p className="field-error" role="alert">{sentenceOf(found.error)}</p>}
      <ul className="sales">
        {found.data?.data.map((one) => (
          <li key={one.id}>
            <b>{one.number}</b>
            <Badge tone={QUOTE_TONE[one.status]}>{quoteStatus(one.status)}</Badge>
            <span className="number">{dollars(one.amount_cents / 100)}</span>
            <span className="faint"><Time at={one.status_at} /></span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Outcomes({ id }: { id: string }) {
  const refresh = useRefresh(id);
  const [isAdding, setAdding] = useState(false);
  const found = useQuery({
    queryKey: ["outcomes", "contact", id],
    queryFn: () => data(listOutcomes({ query: { contact_id: id, limit: 50 }, throwOnError: true })),
  });
  const again = () => (void found.refetch(), refresh("engagement"));
  const reverse = useMutation({
    mutationFn: (outcome: string) => data(reverseOutcome({ path: { outcome_id: outcome }, throwOnError: true })),
    onSuccess: () => (say(t("The outcome no longer counts. Both rows stay in the ledger.")), again()),
    onError: fail,
  });
  return (
    <section className="side-part" aria-labelledby="outcomes-title">
      <header>
        <h2 id="outcomes-title">{t("Outcomes")}</h2>
        {may("insight:write") && !isAdding && <button type="button" className="link" onClick={() => setAdding(true)}>{t("Record")}</button>}
      </header>
      {found.isError && <p className="field-error" role="alert">{sentenceOf(found.error)}</p>}
      {found.data && !found.data.data.length && !isAdding && <p className="faint">{t("No outcome.")}</p>}
      <ul className="sales">
        {found.data?.data.filter((one) => !one.reverses_id).map((one) => (
          <OutcomeLine key={one.id} one={one} onReverse={may("insight:write") ? () => reverse.mutate(one.id) : null} isBusy={reverse.isPending} />
        ))}
      </ul>
      {isAdding && <OutcomeForm id={id} onClose={() => setAdding(false)} onDone={again} />}
    </section>
  );
}

function OutcomeLine({ one, onReverse, isBusy }: { one: OutcomeRead; onReverse: (() => void) | null; isBusy: boolean }) {
  const name = one.name ?? outcomeKind(one.kind);
  return (
    <li>
      <b>{name}</b>
      {one.amount_cents !== null && <span className="number">{dollars(one.amount_cents / 100)}</span>}
      {one.reversed_by_id ? <Badge tone="warn">{t("Reversed")}</Badge> : onReverse && (
        <button type="button" className="link" disabled={isBusy} onClick={onReverse} aria-label={t("Reverse {name}", { name })}>{t("Reverse")}</button>
      )}
      <span className="faint"><Time at={one.occurred_at} /></span>
    </li>
  );
}

function OutcomeForm({ id, onClose, onDone }: { id: string; onClose: () => void; onDone: () => void }) {
  const [kind, setKind] = useState<OutcomeKind>("job_done");
  const zone = currentZone();
  const add = useMutation({
    mutationFn: (body: OutcomeCreate) => data(recordOutcome({ body, throwOnError: true })),
    onSuccess: () => (say(t("The outcome is recorded.")), onDone(), onClose()),
  });
  const [future, setFuture] = useState<OutcomeCreate | null>(null);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const amount = String(form.get("amount") ?? "").trim();
    const outcome: OutcomeCreate = {
      contact_id: id, kind, occurred_at: instantOf(String(form.get("at")), zone).toISOString(),
      ...(kind === "custom" ? { name: String(form.get("name")) } : {}),
      ...(amount ? { amount_cents: Math.round(Number(amount) * 100) } : {}),
    };
    if (Date.parse(outcome.occurred_at) > now()) setFuture(outcome);
    else add.mutate(outcome);
  };
  const isKnown = ["/occurred_at", "/amount_cents", "/name"].some((at) => fieldError(add.error, at));
  return (
    <form className="form" onSubmit={submit} onChange={() => setFuture(null)}>
      {future && <Doubt text={t("This is in the future.")} act={t("Record anyway")} busy={add.isPending} onAct={() => add.mutate(future)} />}
      {add.error && !isKnown && <p className="notice notice-bad" role="alert">{sentenceOf(add.error)}</p>}
      <Field label={t("What happened")}>
        {(attributes) => (
          <select {...attributes} value={kind} onChange={(event) => setKind(event.target.value as OutcomeKind)}>
            {OUTCOME_KINDS.map((one) => <option key={one} value={one}>{outcomeKind(one)}</option>)}
          </select>
        )}
      </Field>
      {kind === "custom" && <Field label={t("Name")} error={fieldError(add.error, "/name")}>{(attributes) => <input {...attributes} name="name" required maxLength={100} />}</Field>}
      <Field label={t("When ({zone})", { zone })} error={fieldError(add.error, "/occurred_at")}>
        {(attributes) => <input {...attributes} name="at" type="datetime-local" required defaultValue={localOf(now(), zone)} />}
      </Field>
      <Field label={t("Amount in dollars")} error={fieldError(add.error, "/amount_cents")}>
        {(attributes) => <input {...attributes} name="amount" type="number" min={0} step="0.01" />}
      </Field>
      <div className="form-end">
        <Button onClick={onClose}>{t("Cancel")}</Button>
        <Button kind="main" type="submit" busy={add.isPending}>{t("Record")}</Button>
      </div>
    </form>
  );
}
