/** The recipients of a campaign, with filters. A dialog explains the status of each recipient. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";
import { data } from "../../api/client";
import { listRecipients, type CampaignRead, type MembershipStatus, type RecipientRead, type SkipReason } from "../../api/generated";
import { phone } from "../../format";
import { t } from "../../i18n";
import type { RecipientSearch } from "../../routes";
import { may } from "../../session";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Failed, Loading, Time, scrolls } from "../../ui/parts";
import { reason } from "../../ui/reasons";
import { Search } from "../../ui/search";
import { plain, RECIPIENT_STATUSES, recipientStatus, RECIPIENT_TONE } from "../../ui/words";
import { Explain } from "./explain";
import { useReview } from "./review";

const FACTS = ["replied", "opted_out", "parked"] as const;

/** Return the filters in the address as query parameters of the API. */
function queryOf(filter: RecipientSearch) {
  return {
    ...(filter.status ? { status: filter.status as MembershipStatus } : {}),
    ...(filter.variant ? { variant: filter.variant } : {}),
    ...(filter.step ? { step: Number(filter.step) } : {}),
    ...(filter.q ? { q: filter.q } : {}),
    ...(filter.skip_reason ? { skip_reason: filter.skip_reason as SkipReason } : {}),
    ...Object.fromEntries(FACTS.filter((name) => filter[name]).map((name) => [name, true])),
  };
}

export function Recipients({ campaign }: { campaign: CampaignRead }) {
  const { id } = campaign;
  const filter = useSearch({ from: "/shell/campaigns/$id" });
  const navigate = useNavigate({ from: "/campaigns/$id" });
  const { person, ...asked } = filter;
  const { query } = useKeyset<RecipientRead>(["campaign", id, "recipients", asked], (cursor, signal) =>
    data(listRecipients({ path: { campaign_id: id }, query: { limit: 100, ...(cursor ? { cursor } : {}), ...queryOf(asked) }, signal, throwOnError: true })),
  );
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  const set = useCallback(
    (change: Partial<RecipientSearch>) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true, resetScroll: false }),
    [navigate],
  );
  const onSearch = useCallback((q: string) => set({ q: q || undefined }), [set]);
  const named = { replied: t("Replied"), opted_out: t("Opted out"), parked: t("Need a decision") };
  const shown = [
    ...(filter.status ? [recipientStatus(filter.status as MembershipStatus)] : []),
    ...FACTS.filter((name) => filter[name]).map((name) => named[name]),
    ...(filter.skip_reason ? [reason(filter.skip_reason)] : []),
  ];
  const variants = campaign.variants.map((one) => one.name);
  return (
    <section className="card recipients" aria-labelledby="people-title">
      <div className="card-head">
        <h2 id="people-title">
          {t("People")}
          {shown.length > 0 && <span className="faint"> · {shown.join(" · ")}</span>}
        </h2>
        <div className="page-actions">
          <Search label={t("Name or number")} value={filter.q ?? ""} onChange={onSearch} />
          <select aria-label={t("Status")} value={filter.status ?? ""} onChange={(event) => set({ status: event.target.value || undefined })}>
            <option value="">{t("Any status")}</option>
            {RECIPIENT_STATUSES.map((one) => <option key={one} value={one}>{recipientStatus(one)}</option>)}
          </select>
          {variants.length > 1 && (
            <select aria-label={t("Variant")} value={filter.variant ?? ""} onChange={(event) => set({ variant: event.target.value || undefined })}>
              <option value="">{t("All variants")}</option>
              {variants.map((one) => <option key={one}>{one}</option>)}
            </select>
          )}
          {campaign.follow_ups.length > 0 && (
            <select aria-label={t("Step")} value={filter.step ?? ""} onChange={(event) => set({ step: event.target.value || undefined })}>
              <option value="">{t("First message")}</option>
              {campaign.follow_ups.map((_, at) => <option key={at} value={at + 1}>{t("Follow-up {n}", { n: at + 1 })}</option>)}
            </select>
          )}
          {Object.values(asked).some(Boolean) && <Button kind="quiet" icon="close" onClick={() => void navigate({ search: {}, replace: true, resetScroll: false })}>{t("Show all")}</Button>}
        </div>
      </div>
      {query.isPending ? (
        <Loading />
      ) : query.isLoadingError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : rows.length === 0 ? (
        <p className="card-body faint">{t("Nobody is in this part.")}</p>
      ) : (
        <>
          <Table rows={rows} id={id} onExplain={(who) => set({ person: who })} />
          <More query={query} />
        </>
      )}
      {person && <Explain id={id} person={person} step={Number(filter.step ?? 0)} onClose={() => set({ person: undefined })} />}
    </section>
  );
}

function Table({ rows, id, onExplain }: { rows: RecipientRead[]; id: string; onExplain: (person: string) => void }) {
  const { ask } = useReview(id);
  const mayDecide = may("campaigns:send");
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="table">
        <thead>
          <tr>
            <th>{t("Name")}</th>
            <th>{t("Phone")}</th>
            <th>{t("Status")}</th>
            <th>{t("Why")}</th>
            <th>{t("Sent")}</th>
            <th>{t("Delivered")}</th>
            <th>{t("Replied")}</th>
            <th><span className="hidden">{t("Actions")}</span></th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const who = phone(row.phone);
            return (
              <tr key={row.id}>
                <td><Link to="/contacts/$id" params={{ id: row.contact_id }}>{row.name ?? who}</Link></td>
                <td className="number">{who}</td>
                <td>
                  <Badge tone={RECIPIENT_TONE[row.status]}>{recipientStatus(row.status)}</Badge>
                  {row.opted_out_at && <Badge tone="bad">{t("Opted out")}</Badge>}
                </td>
                <td className="faint">{row.skip_reason ? reason(row.skip_reason) : row.error_code ? plain(row.error_code) : ""}</td>
                <td className="faint"><Time at={row.sent_at} /></td>
                <td className="faint"><Time at={row.delivered_at} /></td>
                <td className="faint"><Time at={row.replied_at} /></td>
                <td className="end">
                  {row.status === "review" && mayDecide && (
                    <>
                      <Button kind="quiet" busy={ask.isPending} aria-label={t("Send to {phone}", { phone: who })} onClick={() => ask.mutate({ decision: "approve", person: row.contact_id })}>{t("Send")}</Button>
                      <Button kind="quiet" busy={ask.isPending} aria-label={t("Leave out {phone}", { phone: who })} onClick={() => ask.mutate({ decision: "reject", person: row.contact_id })}>{t("Leave out")}</Button>
                    </>
                  )}
                  <Button kind="quiet" aria-label={t("Explain {phone}", { phone: who })} onClick={() => onExplain(row.contact_id)}>{t("Explain")}</Button>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
