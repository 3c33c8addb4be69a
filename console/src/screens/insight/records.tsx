/** The records that a figure counts, in pages and as CSV, and how they make up the figure. */
import { Link } from "@tanstack/react-router";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { client } from "../../api/generated/client.gen";
import type { FigureRead, InsightDimension, InsightUnit, ListInsightRowsResponses, RecordRead } from "../../api/generated";
import { data } from "../../api/client";
import { count } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Badge, Button, Failed, Loading, scrolls, Time } from "../../ui/parts";
import { fail } from "../../ui/toasts";
import { useNames } from "./filters";
import { keyName, recordName, shown } from "./words";

const PAGE = 100;

/** Save a CSV response of the API as a file. */
export async function saveCsv(url: string, name: string): Promise<void> {
  const blob = (await data(client.get({ url, headers: { Accept: "text/csv" }, parseAs: "blob", throwOnError: true } as never) as never)) as Blob;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}

type Props = { figure: FigureRead; title: string; measure: string; unit: InsightUnit; by: InsightDimension | null; zone: string; onClose: () => void };

export function Records({ figure, title, measure, unit, by, zone, onClose }: Props) {
  const [isSaving, setSaving] = useState(false);
  const names = useNames();
  const query = useInfiniteQuery({
    queryKey: ["insight-rows", figure.rows_url],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => {
      const url = `${figure.rows_url}&limit=${PAGE}${pageParam ? `&cursor=${encodeURIComponent(pageParam)}` : ""}`;
      return data(client.get<ListInsightRowsResponses, unknown, true>({ url, signal, throwOnError: true }) as Promise<{ data: ListInsightRowsResponses[200] }>);
    },
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const all = query.data?.pages.flatMap((page) => page.data) ?? [];
  const save = async () => {
    setSaving(true);
    await saveCsv(figure.rows_url, measure).catch(fail);
    setSaving(false);
  };
  const has = (name: keyof RecordRead) => all.some((one) => one[name] !== null);
  const footer = (
    <>
      <Button icon="imports" busy={isSaving} onClick={() => void save()}>{t("Save as CSV")}</Button>
      <Button onClick={onClose}>{t("Close")}</Button>
    </>
  );
  return (
    <Dialog wide title={title} onClose={onClose} footer={footer}>
      {query.isPending && <Loading />}
      {query.isLoadingError && <Failed error={query.error} again={() => void query.refetch()} />}
      {query.isSuccess && <Tally all={all} figure={figure} unit={unit} isComplete={!query.hasNextPage} />}
      {all.length > 0 && (
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead>
              <tr>
                <th>{t("When")}</th>
                <th>{t("What")}</th>
                {has("counted") && <th>{t("Counted")}</th>}
                {has("amount") && <th className="end">{t("Amount")}</th>}
                {by && <th>{t("Group")}</th>}
                {has("campaign_id") && <th>{t("Campaign")}</th>}
                {has("step") && <th>{t("Step")}</th>}
                {has("contact_id") && <th>{t("Person")}</th>}
              </tr>
            </thead>
            <tbody>
              {all.map((one, at) => (
                <tr key={`${one.id}-${one.part}-${at}`} data-record={one.id}>
                  <td><Time at={one.at} zone={zone} /></td>
                  <td>{recordName(one.kind)}</td>
                  {has("counted") && <td>{one.counted ? <Badge tone="good">{t("Yes")}</Badge> : <span className="faint">{t("No")}</span>}</td>}
                  {has("amount") && <td className="end">{amount(one, unit)}</td>}
                  {by && <td>{keyName(by, { key: one.key, label: named(by, one.key, names) })}</td>}
                  {has("campaign_id") && <td>{one.campaign_id && (may("campaigns:read") ? <Link to="/campaigns/$id" params={{ id: one.campaign_id }}>{names.campaigns.get(one.campaign_id) ?? t("Campaign")}</Link> : t("Campaign"))}</td>}
                  {has("step") && <td>{one.step === null ? "" : one.step === 0 ? t("First message") : t("Follow-up {n}", { n: one.step })}</td>}
                  {has("contact_id") && <td>{one.contact_id && <Link to="/contacts/$id" params={{ id: one.contact_id }}>{[one.first_name, one.last_name].filter(Boolean).join(" ") || t("Open the person")}</Link>}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {query.hasNextPage && <p><Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button></p>}
    </Dialog>
  );
}

function named(by: InsightDimension, key: string | null, names: ReturnType<typeof useNames>): string | null {
  if (key === null) return null;
  if (by === "campaign") return names.campaigns.get(key) ?? key;
  if (by === "line") return names.lines.get(key) ?? key;
  if (by === "list") return names.lists.get(key) ?? key;
  if (by === "variant") return names.campaigns.get(key.split("/")[0]!) ?? key;
  return null;
}

/** Format the amount of a record. In a cost per result, the amount of a result is not money. */
function amount(one: RecordRead, unit: InsightUnit): string {
  if (one.amount === null) return "";
  if (one.part === "denominator" && unit === "cents") return shown(one.amount, "count");
  return shown(one.amount, unit === "ratio" ? "cents" : unit);
}

/** Show how many records were read. If all were read, also show that they make up the figure. */
function Tally({ all, figure, unit, isComplete }: { all: RecordRead[]; figure: FigureRead; unit: InsightUnit; isComplete: boolean }) {
  const counted = all.filter((one) => one.counted).length;
  const sum = all.reduce((total, one) => total + Number(one.amount ?? 0), 0);
  if (all.length === 0) return <p className="faint">{t("No record.")}</p>;
  if (!isComplete) {
    const of = figure.denominator ?? (unit === "count" ? figure.numerator : null);
    return <p className="faint" role="status">{of === null ? t("The first {n} records.", { n: count(all.length) }) : t("The first {n} of {of} records.", { n: count(all.length), of: shown(of, "count") })}</p>;
  }
  const n = all.length;
  return (
    <p role="status" data-records={n} data-counted={counted} data-sum={sum}>
      {unit === "rate"
        ? t("{n, plural, one {# record} other {# records}}; {counted, plural, one {# counts} other {# count}}. This is the figure.", { n, counted })
        : unit === "cents" && figure.denominator === null
          ? t("{n, plural, one {# record} other {# records}}; the sum is {sum}. This is the figure.", { n, sum: shown(sum, "cents") })
          : t("{n, plural, one {# record} other {# records}}. All are here.", { n })}
    </p>
  );
}
