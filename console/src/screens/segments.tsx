/** Segments (groups of contacts by rules). `?id=` opens a segment; `?id=new` makes one. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useQueries, useQuery } from "@tanstack/react-query";
import { data } from "../api/client";
import { countSegment, listCampaigns, listLists, listSegmentFields, listSegments, listTags, type CampaignRead, type SegmentRead } from "../api/generated";
import { count } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { useKeyset } from "../ui/keyset";
import { More } from "../ui/more";
import { Button, Empty, Failed, Loading, PageHead, Time, scrolls } from "../ui/parts";
import { PeopleNav } from "../ui/people-nav";
import type { Choices } from "./segment-rule";
import { SegmentEditor } from "./segment-editor";
import { treeOf, treeText } from "./segment-tree";
import "./segments.css";

const MOST_CAMPAIGNS = 10;
const FRESH_MS = 60_000;

/** Read up to a thousand campaigns, in pages. They show which campaigns use a segment. */
async function readCampaigns(): Promise<CampaignRead[]> {
  const found: CampaignRead[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MOST_CAMPAIGNS; page++) {
    const { data: rows, next_cursor: next } = await data(listCampaigns({ query: { limit: 100, ...(cursor ? { cursor } : {}) }, throwOnError: true }));
    found.push(...rows);
    if (!next) break;
    cursor = next;
  }
  return found;
}

export type Known = Choices & { usedBy: (segment: string) => { id: string; name: string }[] };

/** Read what a rule can refer to: fields, tags, lists and campaigns. */
function useKnown(): { known: Known | undefined; error: unknown; again: () => void } {
  const fields = useQuery({ queryKey: ["segment-fields"], staleTime: FRESH_MS, queryFn: () => data(listSegmentFields({ throwOnError: true })) });
  const tags = useQuery({ queryKey: ["tags"], staleTime: FRESH_MS, queryFn: () => data(listTags({ query: { limit: 200 }, throwOnError: true })) });
  const lists = useQuery({ queryKey: ["lists"], staleTime: FRESH_MS, queryFn: () => data(listLists({ query: { limit: 200 }, throwOnError: true })) });
  const campaigns = useQuery({ queryKey: ["campaigns", "names"], staleTime: FRESH_MS, enabled: may("campaigns:read"), queryFn: readCampaigns });
  const failed = [fields, tags, lists, campaigns].find((one) => one.isLoadingError);
  const isHere = fields.data && tags.data && lists.data && (campaigns.data || !may("campaigns:read"));
  const rows = campaigns.data ?? [];
  const usedBy = (segment: string) =>
    rows.filter(({ audience }) => audience.segment_id === segment || ((audience.exclude as { segment_ids?: string[] } | undefined)?.segment_ids ?? []).includes(segment));
  return {
    known: isHere
      ? { fields: fields.data.data, tags: tags.data.data.map((one) => one.tag), lists: lists.data.data, campaigns: rows, usedBy }
      : undefined,
    error: failed?.error,
    again: () => void failed?.refetch(),
  };
}

export function Segments() {
  const { id } = useSearch({ from: "/shell/segments" });
  const { known, error, again } = useKnown();
  if (id && known) return <SegmentEditor key={id} id={id === "new" ? null : id} known={known} />;
  return (
    <>
      <PageHead
        title={t("Segments")}
        actions={may("contacts:write") && <Link to="/segments" search={{ id: "new" }} className="button button-main">{t("New segment")}</Link>}
      />
      <PeopleNav />
      {error ? <Failed error={error} again={again} /> : known ? <SegmentList known={known} /> : <Loading />}
    </>
  );
}

function SegmentList({ known }: { known: Known }) {
  const navigate = useNavigate({ from: "/segments" });
  const { query } = useKeyset<SegmentRead>(["segments"], (cursor) => data(listSegments({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  const counts = useQueries({
    queries: rows.map((row) => ({
      queryKey: ["segment-count", row.id, row.updated_at],
      staleTime: FRESH_MS,
      queryFn: () => data(countSegment({ path: { segment_id: row.id }, throwOnError: true })),
    })),
  });
  if (query.isPending) return <Loading />;
  if (query.isLoadingError) return <Failed error={query.error} again={() => void query.refetch()} />;
  if (!rows.length) {
    return (
      <Empty
        title={t("No segments yet")}
        action={may("contacts:write") && <Button kind="main" onClick={() => void navigate({ search: { id: "new" } })}>{t("Make the first one")}</Button>}
      >
        {t("A segment is a group of contacts by rules, such as old houses in one city that got no message for 30 days. Its people are found again at each use.")}
      </Empty>
    );
  }
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="table segments">
        <thead>
          <tr>
            <th>{t("Name")}</th>
            <th className="end">{t("People")}</th>
            <th className="hide-narrow">{t("Rules")}</th>
            <th className="hide-narrow">{t("Used by")}</th>
            <th>{t("Changed")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => {
            const found = counts[at]?.data?.count;
            const campaigns = known.usedBy(row.id);
            return (
              <tr key={row.id} className="row">
                <td><Link to="/segments" search={{ id: row.id }} className="row-link">{row.name}</Link></td>
                <td className="end" data-part="people">{found === undefined ? "…" : count(found)}</td>
                <td className="hide-narrow"><div className="segment-rules faint">{treeText(treeOf(row.filter), known.fields, known)}</div></td>
                <td className="hide-narrow faint">{campaigns.length ? t("{n, plural, one {# campaign} other {# campaigns}}", { n: campaigns.length }) : "–"}</td>
                <td className="faint"><Time at={row.updated_at} relative /></td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <More query={query} />
    </div>
  );
}
