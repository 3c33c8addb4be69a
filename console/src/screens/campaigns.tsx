/** The list of all campaigns with their progress. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useCallback } from "react";
import { data } from "../api/client";
import { listCampaigns, listLines, type CampaignItem, type CampaignSort, type CampaignStatus } from "../api/generated";
import { count, currentZone, phone } from "../format";
import { t } from "../i18n";
import type { CampaignSearch } from "../routes";
import { may } from "../session";
import { Icon } from "../ui/icons";
import { useKeyset } from "../ui/keyset";
import { More } from "../ui/more";
import { Badge, Empty, Failed, Loading, PageHead, Time, scrolls } from "../ui/parts";
import { Search } from "../ui/search";
import { TruthBar } from "../ui/truth";
import { CAMPAIGN_TONE, campaignStatus } from "../ui/words";
import "./campaigns.css";

const STATUSES: CampaignStatus[] = ["draft", "scheduled", "running", "paused", "blocked", "completed", "cancelled"];

function Progress({ row }: { row: CampaignItem }) {
  const { counts } = row;
  if (!counts.recipients) return <span className="faint">–</span>;
  const other = Math.max(0, counts.recipients - counts.sent - counts.failed - counts.pending);
  const parts = {
    delivered: counts.delivered, sent: Math.max(0, counts.sent - counts.delivered), failed: counts.failed, skipped: other,
    pending: counts.pending, sending: 0, unknown: 0, held: 0, review: 0, cancelled: 0,
  };
  const label = t("{sent} of {all} sent", { sent: count(counts.sent), all: count(counts.recipients) });
  return (
    <div className="progress">
      <TruthBar counts={parts} total={counts.recipients} label={label} />
      <span className="faint number">{label}</span>
    </div>
  );
}

export function Campaigns() {
  const filter = useSearch({ from: "/shell/campaigns" });
  const navigate = useNavigate({ from: "/campaigns" });
  const set = useCallback(
    (change: Partial<CampaignSearch>) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true }),
    [navigate],
  );
  const onSearch = useCallback((q: string) => set({ q: q || undefined }), [set]);
  const list = useKeyset<CampaignItem>(["campaigns", filter], (cursor, signal) =>
    data(
      listCampaigns({
        signal,
        throwOnError: true,
        query: {
          limit: 100,
          ...(cursor ? { cursor } : {}),
          ...(filter.q ? { q: filter.q } : {}),
          ...(filter.status ? { status: filter.status as CampaignStatus } : {}),
          ...(filter.line ? { line_id: filter.line } : {}),
          ...(filter.since ? { created_after: filter.since, timezone: currentZone() } : {}),
          ...(filter.sort ? { sort: filter.sort as CampaignSort } : {}),
          archived: filter.archived === "yes",
        },
      }),
    ),
  );
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const { query } = list;
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  const { sort: _sort, ...narrowing } = filter;
  const isFiltered = Object.values(narrowing).some(Boolean);
  return (
    <>
      <PageHead
        title={t("Campaigns")}
        actions={
          may("campaigns:write") && (
            <Link to="/campaigns/new" className="button button-main">
              <Icon name="plus" />
              {t("New campaign")}
            </Link>
          )
        }
      />
      <div className="filters" role="search">
        <Search label={t("Name of a campaign")} value={filter.q ?? ""} onChange={onSearch} />
        <select aria-label={t("Status")} value={filter.status ?? ""} onChange={(event) => set({ status: event.target.value || undefined })}>
          <option value="">{t("Any status")}</option>
          {STATUSES.map((one) => (
            <option key={one} value={one}>{campaignStatus(one)}</option>
          ))}
        </select>
        {(lines.data?.data.length ?? 0) > 1 && (
          <select aria-label={t("Line")} value={filter.line ?? ""} onChange={(event) => set({ line: event.target.value || undefined })}>
            <option value="">{t("Any line")}</option>
            {lines.data?.data.map((one) => <option key={one.id} value={one.id}>{one.name || phone(one.number)}</option>)}
          </select>
        )}
        <label className="check">
          {t("Made since")}
          <input type="date" value={filter.since ?? ""} onChange={(event) => set({ since: event.target.value || undefined })} />
        </label>
        <select aria-label={t("Sort")} value={filter.sort ?? ""} onChange={(event) => set({ sort: event.target.value || undefined })}>
          <option value="">{t("Newest first")}</option>
          <option value="created_at">{t("Oldest first")}</option>
          <option value="name">{t("Name A to Z")}</option>
          <option value="-name">{t("Name Z to A")}</option>
        </select>
        <label className="check">
          <input type="checkbox" checked={filter.archived === "yes"} onChange={(event) => set({ archived: event.target.checked ? "yes" : undefined })} />
          {t("Archived")}
        </label>
      </div>
      {query.isPending ? (
        <Loading />
      ) : query.isLoadingError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : rows.length === 0 ? (
        <Empty title={isFiltered ? t("No campaign matches") : t("No campaigns yet")}>
          {isFiltered ? t("Change the search or a filter.") : t("A campaign sends one message to many people, at hours that are allowed.")}
        </Empty>
      ) : (
        <div className="scroll-x" ref={scrolls}>
          <table className="table campaigns">
            <thead>
              <tr>
                <th>{t("Name")}</th>
                <th>{t("Status")}</th>
                <th>{t("Progress")}</th>
                <th className="end">{t("Delivered")}</th>
                <th className="end">{t("Failed")}</th>
                <th className="end">{t("Replied")}</th>
                <th className="end">{t("Opted out")}</th>
                <th>{t("Created")}</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.id} className="row">
                  <td>
                    <Link to="/campaigns/$id" params={{ id: row.id }} search={{}} className="row-link">{row.name}</Link>
                  </td>
                  <td><Badge tone={CAMPAIGN_TONE[row.status]}>{campaignStatus(row.status)}</Badge></td>
                  <td><Progress row={row} /></td>
                  <td className="end">{count(row.counts.delivered)}</td>
                  <td className="end">{count(row.counts.failed)}</td>
                  <td className="end">{count(row.counts.replied)}</td>
                  <td className="end">{count(row.counts.opted_out)}</td>
                  <td className="faint"><Time at={row.created_at} relative /></td>
                </tr>
              ))}
            </tbody>
          </table>
          <More query={query} />
        </div>
      )}
    </>
  );
}
