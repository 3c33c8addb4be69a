/** The filters of figures: period, time zone, campaign, line, list, step, attribution rules. */
import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { data } from "../../api/client";
import { listAttributionRules, listCampaigns, listLines, listLists } from "../../api/generated";
import type { InsightSearch } from "../../routes";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Button, Field } from "../../ui/parts";
import { PERIODS, useAddress } from "./address";
import { periodName } from "./words";

const ZONES = [
  "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Anchorage", "Pacific/Honolulu",
  "America/Puerto_Rico", "UTC",
];
const MOST = 100;

/** Return the names of the campaigns, lines and lists that a user can choose, by their ids. */
export function useNames() {
  const campaigns = useQuery({
    queryKey: ["insight", "campaigns"],
    queryFn: () => data(listCampaigns({ query: { limit: MOST, sort: "-created_at" }, throwOnError: true })),
    enabled: may("campaigns:read"),
    staleTime: 60_000,
  });
  const lines = useQuery({ queryKey: ["insight", "lines"], queryFn: () => data(listLines({ throwOnError: true })), enabled: may("campaigns:read"), staleTime: 60_000 });
  const lists = useQuery({
    queryKey: ["insight", "lists"],
    queryFn: () => data(listLists({ query: { limit: MOST }, throwOnError: true })),
    enabled: may("contacts:read"),
    staleTime: 60_000,
  });
  const named = (all: { id: string; name?: string | null }[] | undefined) => new Map((all ?? []).map((one) => [one.id, one.name ?? one.id]));
  return { campaigns: named(campaigns.data?.data), lines: named(lines.data?.data), lists: named(lists.data?.data) };
}

export function Choice({ label, value, onChange, children }: { label: string; value: string; onChange: (value: string | undefined) => void; children: ReactNode }) {
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.target.value || undefined)}>
      {children}
    </select>
  );
}

function Named({ label, all, names, value, onChange }: { label: string; all: string; names: Map<string, string>; value: string | undefined; onChange: (value: string | undefined) => void }) {
  if (names.size === 0 && !value) return null;
  return (
    <Choice label={label} value={value ?? ""} onChange={onChange}>
      <option value="">{all}</option>
      {value && !names.has(value) && <option value={value}>{value}</option>}
      {[...names].map(([id, name]) => <option key={id} value={id}>{name}</option>)}
    </Choice>
  );
}

/** Let the user choose the period. A custom period has fields for its first and its last day. */
export function PeriodChoice({ usual = "90d" }: { usual?: string }) {
  const { search, set } = useAddress();
  const period = search.period ?? usual;
  const wrong = search.from && search.last && search.from > search.last;
  return (
    <>
      <Choice label={t("Period")} value={period} onChange={(value) => set({ period: value === usual ? undefined : value })}>
        {PERIODS.map((one) => <option key={one} value={one}>{periodName(one)}</option>)}
      </Choice>
      {period === "custom" && (
        <>
          <Field label={t("From")} hideLabel>
            {(own) => <input {...own} type="date" value={search.from ?? ""} max={search.last} onChange={(event) => set({ from: event.target.value || undefined })} />}
          </Field>
          <Field label={t("To and with")} hideLabel error={wrong ? t("The period ends before it begins.") : undefined}>
            {(own) => <input {...own} type="date" value={search.last ?? ""} min={search.from} onChange={(event) => set({ last: event.target.value || undefined })} />}
          </Field>
        </>
      )}
    </>
  );
}

const ASIDE = ["zone", "campaign", "line", "list", "step", "rules"] as const;

/** Show a button that opens a row with the filters that users need less often. */
export function MoreFilters({ ofCampaign, withRules = true, withStep = true, children }: { ofCampaign: boolean; withRules?: boolean; withStep?: boolean; children?: ReactNode }) {
  const { search, set } = useAddress();
  const used = ASIDE.filter((one) => search[one] !== undefined).length;
  const [isOpen, setOpen] = useState(used > 0);
  const names = useNames();
  const rules = useQuery({ queryKey: ["attribution-rules"], queryFn: () => data(listAttributionRules({ query: { limit: 50 }, throwOnError: true })), enabled: withRules, staleTime: 60_000 });
  const own = currentZone();
  const zones = [...new Set([own, ...ZONES, ...(search.zone ? [search.zone] : [])])];
  return (
    <>
      {children}
      <Button kind="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {used ? t("More filters ({n})", { n: used }) : t("More filters")}
      </Button>
      {isOpen && (
        <div className="insight-more" role="group" aria-label={t("More filters")}>
          <Choice label={t("Time zone")} value={search.zone ?? own} onChange={(value) => set({ zone: value === own ? undefined : value })}>
            {zones.map((one) => <option key={one} value={one}>{one}</option>)}
          </Choice>
          {ofCampaign && (
            <>
              <Named label={t("Campaign")} all={t("All campaigns")} names={names.campaigns} value={search.campaign} onChange={(campaign) => set({ campaign })} />
              <Named label={t("List")} all={t("All lists")} names={names.lists} value={search.list} onChange={(list) => set({ list })} />
              <Named label={t("Line")} all={t("All lines")} names={names.lines} value={search.line} onChange={(line) => set({ line })} />
              {withStep && (
                <Choice label={t("Step")} value={search.step ?? ""} onChange={(step) => set({ step })}>
                  <option value="">{t("All steps")}</option>
                  {[0, 1, 2, 3, 4].map((one) => <option key={one} value={one}>{one === 0 ? t("First message") : t("Follow-up {n}", { n: one })}</option>)}
                </Choice>
              )}
            </>
          )}
          {withRules && (
            <Choice label={t("Attribution rules")} value={String(search.rules ?? "")} onChange={(version) => set({ rules: version === undefined ? undefined : Number(version) })}>
              <option value="">{t("Current rules")}</option>
              {rules.data?.data.map((one) => <option key={one.version} value={one.version}>{t("Rules {version}", { version: one.version })}</option>)}
            </Choice>
          )}
          {used > 0 && <Button kind="quiet" onClick={() => set(Object.fromEntries(ASIDE.map((one) => [one, undefined])) as InsightSearch)}>{t("Clear")}</Button>}
        </div>
      )}
    </>
  );
}
