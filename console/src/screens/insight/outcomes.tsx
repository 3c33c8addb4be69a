/** The ledger of outcomes: filters, credits as fractions, reversals, and a CSV file. */
import { Link } from "@tanstack/react-router";
import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { getOutcomeCredits, listOutcomes, reverseOutcome, type OutcomeKind, type OutcomeRead, type OutcomeSource } from "../../api/generated";
import { phone, when } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Badge, Button, Empty, Failed, Loading, scrolls, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { periodOf, useAddress, useNow, zoneOf } from "./address";
import { Choice, PeriodChoice, useNames } from "./filters";
import { saveCsv } from "./records";
import { Refused } from "./refused";
import { cents, outcomeName, sourceName, touchName } from "./words";
import { Actor } from "../../ui/actor";

const KINDS: OutcomeKind[] = ["appointment_booked", "appointment_held", "quote_sent", "quote_approved", "job_done", "invoice_paid", "custom"];
const SOURCES: OutcomeSource[] = ["person", "import", "calendar", "api"];

export function Outcomes() {
  const { search, set } = useAddress();
  const [reversing, setReversing] = useState<OutcomeRead | null>(null);
  const [isSaving, setSaving] = useState(false);
  const zone = zoneOf(search);
  const period = periodOf({ ...search, period: search.period ?? "all" }, useNow(), zone);
  const kind = KINDS.find((one) => one === search.kind);
  const source = SOURCES.find((one) => one === search.source);
  const wanted = {
    timezone: zone,
    ...(kind ? { kind } : {}),
    ...(source ? { source } : {}),
    ...(period.from ? { occurred_after: period.from } : {}),
    ...(period.to ? { occurred_before: period.to } : {}),
  };
  const query = useInfiniteQuery({
    queryKey: ["outcomes", wanted],
    initialPageParam: "",
    queryFn: ({ pageParam }) => data(listOutcomes({ query: { ...wanted, limit: 100, ...(pageParam ? { cursor: pageParam } : {}) }, throwOnError: true })),
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const all = query.data?.pages.flatMap((page) => page.data) ?? [];
  const opened = all.find((one) => one.id === search.open);
  const save = async () => {
    setSaving(true);
    await saveCsv(`/v1/outcomes?${new URLSearchParams(wanted as Record<string, string>)}`, "outcomes").catch(fail);
    setSaving(false);
  };
  return (
    <>
      <div className="filters insight-filters">
        <Choice label={t("Kind")} value={kind ?? ""} onChange={(value) => set({ kind: value })}>
          <option value="">{t("All kinds")}</option>
          {KINDS.map((one) => <option key={one} value={one}>{outcomeName(one)}</option>)}
        </Choice>
        <Choice label={t("Source")} value={source ?? ""} onChange={(value) => set({ source: value })}>
          <option value="">{t("All sources")}</option>
          {SOURCES.map((one) => <option key={one} value={one}>{sourceName(one)}</option>)}
        </Choice>
        <PeriodChoice usual="all" />
        <div className="page-actions"><Button icon="imports" busy={isSaving} disabled={all.length === 0} onClick={() => void save()}>{t("Save as CSV")}</Button></div>
      </div>
      {query.isPending && <Loading />}
      {query.isLoadingError && <Failed error={query.error} again={() => void query.refetch()} />}
      {query.isSuccess && all.length === 0 && <Empty title={t("No results yet")}>{t("Appointments, quotes, jobs and paid invoices are written here, by people, imports and other systems.")}</Empty>}
      {all.length > 0 && (
        <div className="sections">
          <section className="card scroll-x" ref={scrolls} aria-label={t("Results")}>
            <table className="table" aria-label={t("Results")}>
              <thead><tr><th>{t("When")}</th><th>{t("What")}</th><th className="end">{t("Amount")}</th><th>{t("Person")}</th><th>{t("Source")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
              <tbody>
                {all.map((one) => (
                  <tr key={one.id} data-row={one.id} className={one.reverses_id || one.reversed_by_id ? "insight-thin" : undefined}>
                    <td><Time at={one.occurred_at} zone={zone} /></td>
                    <td>
                      <button type="button" className="link" aria-label={t("Credits of {name}, {time}", { name: outcomeName(one.kind, one.name), time: when(one.occurred_at, zone) })} onClick={() => set({ open: one.id })}>{outcomeName(one.kind, one.name)}</button>{" "}
                      {one.reverses_id && <Badge tone="warn">{t("Reversal")}</Badge>}
                      {one.reversed_by_id && <Badge tone="warn">{t("Reversed")}</Badge>}
                    </td>
                    <td className="end">{one.amount_cents === null ? "" : cents(one.amount_cents)}</td>
                    <td>{one.contact_id ? <Link to="/contacts/$id" params={{ id: one.contact_id }}>{[one.first_name, one.last_name].filter(Boolean).join(" ") || phone(one.phone)}</Link> : one.phone ? phone(one.phone) : ""}</td>
                    <td>{sourceName(one.source)} <span className="faint"><Actor who={one.recorded_by} /></span></td>
                    <td className="end">
                      {may("insight:write") && !one.reverses_id && !one.reversed_by_id && (
                        <Button kind="quiet" aria-label={t("Reverse {name}, {time}", { name: outcomeName(one.kind, one.name), time: when(one.occurred_at, zone) })} onClick={() => setReversing(one)}>{t("Reverse")}</Button>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
            {query.hasNextPage && <p className="insight-hint"><Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button></p>}
          </section>
        </div>
      )}
      {opened && <Credits outcome={opened} zone={zone} rules={search.rules} onClose={() => set({ open: undefined })} />}
      {reversing && <Reverse outcome={reversing} onClose={() => setReversing(null)} />}
    </>
  );
}

/**
 * Show the share of each message in an outcome, and the unattributed share. The shares are exact
 * fractions, and their sum is 1.
 */
function Credits({ outcome, zone, rules, onClose }: { outcome: OutcomeRead; zone: string; rules: number | undefined; onClose: () => void }) {
  const names = useNames();
  const query = useQuery({
    queryKey: ["credits", outcome.id, rules],
    queryFn: () => data(getOutcomeCredits({ path: { outcome_id: outcome.id }, query: rules === undefined ? {} : { rules }, throwOnError: true })),
  });
  const found = query.data;
  return (
    <Dialog wide title={t("Who earned: {name}", { name: outcomeName(outcome.kind, outcome.name) })} onClose={onClose} footer={<Button onClick={onClose}>{t("Close")}</Button>}>
      <p className="faint">{when(outcome.occurred_at, zone)}{outcome.amount_cents === null ? "" : ` · ${cents(outcome.amount_cents)}`}{found ? ` · ${t("Attribution rules, version {version}", { version: found.rules_version })}` : ""}</p>
      {query.isPending && <Loading lines={3} />}
      {query.isLoadingError && <Failed error={query.error} again={() => void query.refetch()} />}
      {found && (
        <div className="scroll-x" ref={scrolls}>
          <table className="table" aria-label={t("Credits")}>
            <thead><tr><th>{t("Message")}</th><th>{t("Why")}</th><th className="end">{t("Share")}</th>{outcome.amount_cents !== null && <th className="end">{t("Amount")}</th>}</tr></thead>
            <tbody>
              {found.credits.map((one, at) => (
                <tr key={at} data-credit={one.weight}>
                  <td>
                    {may("campaigns:read") ? <Link to="/campaigns/$id" params={{ id: one.campaign_id }}>{names.campaigns.get(one.campaign_id) ?? t("Campaign")}</Link> : t("Campaign")}
                    , {one.step === 0 ? t("First message") : t("Follow-up {n}", { n: one.step })}, {one.variant}
                  </td>
                  <td>{touchName(one.class)}</td>
                  <td className="end">{one.weight}</td>
                  {outcome.amount_cents !== null && <td className="end">{one.cents === null ? "" : cents(one.cents)}</td>}
                </tr>
              ))}
              <tr data-credit={found.unattributed}>
                <td>{t("No message")}</td><td />
                <td className="end">{found.unattributed}</td>
                {outcome.amount_cents !== null && <td className="end">{found.unattributed_cents === null ? "" : cents(found.unattributed_cents)}</td>}
              </tr>
            </tbody>
          </table>
        </div>
      )}
      {outcome.reversed_by_id && <p className="notice notice-warn">{t("This result was reversed: figures leave it out.")}</p>}
    </Dialog>
  );
}

function Reverse({ outcome, onClose }: { outcome: OutcomeRead; onClose: () => void }) {
  const cache = useQueryClient();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const reverse = async () => {
    setBusy(true);
    setError(null);
    try {
      await reverseOutcome({ path: { outcome_id: outcome.id }, throwOnError: true });
      await Promise.all([cache.invalidateQueries({ queryKey: ["outcomes"] }), cache.invalidateQueries({ queryKey: ["insight"] })]);
      say(t("The result was reversed."));
      onClose();
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t("Reverse this result?")} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="danger" busy={isBusy} onClick={() => void reverse()}>{t("Reverse")}</Button></>}>
      <p>{outcomeName(outcome.kind, outcome.name)}, {when(outcome.occurred_at)}{outcome.amount_cents === null ? "" : `, ${cents(outcome.amount_cents)}`}</p>
      <p>{t("A second row with the negative amount is written. Figures then leave out both. This cannot be undone; record the result again if it was right.")}</p>
      <Refused error={error} />
    </Dialog>
  );
}
