/** Parts of the Today screen: approved quotes without an appointment, and unpaid invoices. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { bookAppointment, updateInvoice, type AppointmentKind } from "../../api/generated";
import { listConversations } from "../../api/inbox";
import { ApiProblem, fieldError, sentenceOf } from "../../api/problem";
import { now } from "../../clock";
import { currentZone, dollars } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Button, Field } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { instantOf, localOf, morningAfter } from "../../ui/zoned";
import { Part, useAct, useToday } from "./part";

type Row = { id: string; number: string; contact_id: string | null; amount_cents: number; word: string; kind: "quote" | "invoice" };

export function Money() {
  const query = useToday();
  const [booked, setBooked] = useState<Row | null>(null);
  const [paid, setPaid] = useState<Row | null>(null);
  const { act } = useAct();
  const money = query.data?.money;
  const rows: Row[] = [
    ...(money?.approved_quotes.first ?? []).map((one): Row => ({ ...one, word: t("Quote approved"), kind: "quote" })),
    ...(money?.unpaid_invoices.first ?? []).map((one): Row => ({ ...one, word: t("Invoice unpaid"), kind: "invoice" })),
  ];
  const sums = [...(money?.approved_quotes.sums ?? []), ...(money?.unpaid_invoices.sums ?? [])];
  const cents = sums.filter((one) => one.currency === "USD").reduce((all, one) => all + one.amount_cents, 0);
  const pay = (one: Row) => {
    setPaid(null);
    act({
      run: () => updateInvoice({ path: { invoice_id: one.id }, body: { status: "paid" }, throwOnError: true }),
      shown: (today) => (today.money ? { ...today, money: { ...today.money, unpaid_invoices: { ...today.money.unpaid_invoices, first: today.money.unpaid_invoices.first.filter((other) => other.id !== one.id) } } } : today),
      done: t("Invoice {number} is paid.", { number: one.number }),
    });
  };
  return (
    <Part title={t("Money waiting")} figure={cents ? dollars(cents / 100) : undefined} query={query} isEmpty={rows.length === 0} empty={t("No approved quote and no unpaid invoice waits.")}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <span className="rows-text">{one.contact_id ? <Link to="/contacts/$id" params={{ id: one.contact_id }}>{`${one.word} ${one.number}`}</Link> : `${one.word} ${one.number}`}</span>
            <b className="number">{dollars(one.amount_cents / 100)}</b>
            <span className="row-acts">
              {one.contact_id && may("messages:read") && <WriteTo contact={one.contact_id} name={one.number} />}
              {may("sales:write") && one.kind === "quote" && one.contact_id && <Button aria-label={t("Book a visit for {name}", { name: one.number })} onClick={() => setBooked(one)}>{t("Book")}</Button>}
              {may("sales:write") && one.kind === "invoice" && <Button aria-label={t("Invoice {number} is paid", { number: one.number })} onClick={() => setPaid(one)}>{t("Paid")}</Button>}
            </span>
          </li>
        ))}
      </ul>
      {booked && <Book row={booked} onClose={() => setBooked(null)} />}
      {paid && (
        <Dialog
          title={t("Invoice {number}", { number: paid.number })}
          onClose={() => setPaid(null)}
          footer={<><Button onClick={() => setPaid(null)}>{t("Cancel")}</Button><Button kind="main" onClick={() => pay(paid)}>{t("It is paid")}</Button></>}
        >
          <p>{t("{amount} counts as revenue from today.", { amount: dollars(paid.amount_cents / 100) })}</p>
        </Dialog>
      )}
    </Part>
  );
}

/** Show a button that opens the conversation with a person, or the contact if there is none. */
function WriteTo({ contact, name }: { contact: string; name: string }) {
  const navigate = useNavigate();
  const open = useMutation({
    mutationFn: () => listConversations({ contact_id: contact, limit: 1 }),
    onSuccess: ({ data: [first] }) => void (first ? navigate({ to: "/inbox/$id", params: { id: first.id }, search: {} }) : navigate({ to: "/contacts/$id", params: { id: contact } })),
    onError: fail,
  });
  return <Button kind="quiet" busy={open.isPending} aria-label={t("Write to the person of {name}", { name })} onClick={() => open.mutate()}>{t("Write")}</Button>;
}

function Book({ row, onClose }: { row: Row; onClose: () => void }) {
  const cache = useQueryClient();
  const zone = currentZone();
  const [starts, setStarts] = useState(() => localOf(morningAfter(new Date(now()), zone, 1), zone));
  const [hours, setHours] = useState("4");
  const [kind, setKind] = useState<AppointmentKind>("repair");
  const book = useMutation({
    mutationFn: (allow: boolean) => {
      const at = instantOf(starts, zone);
      const ends = new Date(at.getTime() + Number(hours) * 3_600_000);
      return data(bookAppointment({ body: { contact_id: row.contact_id!, kind, starts_at: at.toISOString(), ends_at: ends.toISOString(), timezone: zone, ...(allow ? { allow_conflict: true } : {}) }, throwOnError: true }));
    },
    onSuccess: () => {
      say(t("Booked."));
      for (const key of ["today", "appointments"]) void cache.invalidateQueries({ queryKey: [key] });
      onClose();
    },
  });
  const isConflict = book.error instanceof ApiProblem && book.error.code === "appointment_conflict";
  const atFields = fieldError(book.error, "/starts_at") ?? fieldError(book.error, "/ends_at");
  return (
    <Dialog title={t("Book a visit for {name}", { name: row.number })} onClose={onClose}>
      <form className="form" onSubmit={(event) => (event.preventDefault(), book.mutate(false))}>
        {book.error && !atFields && (
          <p className="notice notice-bad" role="alert">
            {sentenceOf(book.error)} {isConflict && <button type="button" className="link" onClick={() => book.mutate(true)}>{t("Book anyway")}</button>}
          </p>
        )}
        <Field label={t("Begins")} hint={zone} error={atFields}>{(a) => <input {...a} type="datetime-local" required value={starts} onChange={(event) => setStarts(event.target.value)} />}</Field>
        <div className="form-pair">
          <Field label={t("Hours")}>{(a) => <input {...a} type="number" min="0.5" max="12" step="0.5" required value={hours} onChange={(event) => setHours(event.target.value)} />}</Field>
          <Field label={t("What for")}>
            {(a) => (
              <select {...a} value={kind} onChange={(event) => setKind(event.target.value as AppointmentKind)}>
                <option value="repair">{t("Repair")}</option>
                <option value="assessment">{t("Assessment")}</option>
                <option value="other">{t("Other")}</option>
              </select>
            )}
          </Field>
        </div>
        <div className="form-end"><Button type="submit" kind="main" busy={book.isPending} disabled={!starts}>{t("Book")}</Button></div>
      </form>
    </Dialog>
  );
}
