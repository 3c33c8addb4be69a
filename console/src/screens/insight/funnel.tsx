/** The funnel: how many people reach each stage within some days after the first message. */
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { getFunnel, type FunnelRead } from "../../api/generated";
import { count, rate, when } from "../../format";
import { t } from "../../i18n";
import { GroupChart, type Mark } from "../../ui/charts";
import { Empty, Failed, Loading, scrolls } from "../../ui/parts";
import { filtersOf, periodOf, useAddress, useNow, zoneOf } from "./address";
import { Choice, MoreFilters, PeriodChoice } from "./filters";
import { people, stageName } from "./words";

const WINDOWS = ["7d", "14d", "30d", "60d", "90d", "180d"];

export function Funnel() {
  const { search, set } = useAddress();
  const zone = zoneOf(search);
  const days = WINDOWS.includes(search.days ?? "") ? search.days! : "30d";
  const question = { ...periodOf(search, useNow(), zone), ...filtersOf(search), timezone: zone, window_days: parseInt(days, 10) };
  const query = useQuery({
    queryKey: ["funnel", question],
    queryFn: () => data(getFunnel({ query: question, throwOnError: true })),
    placeholderData: (was) => was,
  });
  return (
    <>
      <div className="filters insight-filters">
        <Choice label={t("Followed for")} value={days} onChange={(value) => set({ days: value === "30d" ? undefined : value })}>
          {WINDOWS.map((one) => <option key={one} value={one}>{t("{n} days after the first message", { n: parseInt(one, 10) })}</option>)}
        </Choice>
        <PeriodChoice />
        <MoreFilters ofCampaign withRules={false} withStep={false} />
      </div>
      {query.isPending ? <Loading /> : query.isLoadingError ? <Failed error={query.error} again={() => void query.refetch()} /> : <Stages found={query.data} zone={zone} />}
    </>
  );
}

function Stages({ found, zone }: { found: FunnelRead; zone: string }) {
  const marks: Mark[] = found.stages.map((one) => ({
    id: one.stage,
    name: stageName(one.stage),
    value: one.rate === null ? null : Number(one.rate),
    low: one.low === null ? null : Number(one.low),
    high: one.high === null ? null : Number(one.high),
    enough: true,
    text: `${stageName(one.stage)}: ${people(one.people)}, ${rate(one.rate)}`,
  }));
  return (
    <div className="sections">
      {found.unripe > 0 && (
        <p className="notice" data-unripe={found.unripe}>
          {t("{n, plural, one {# person is} other {# people are}} left out: their {days} days are not over yet.", { n: found.unripe, days: found.window_days })}
        </p>
      )}
      {found.stages[0]?.people === 0 ? (
        <Empty title={t("No person to follow yet")}>{t("Choose a longer period or a shorter time to follow.")}</Empty>
      ) : (
        <section className="card insight-split" aria-label={t("Funnel")}>
          <figure><GroupChart marks={marks} label={t("Funnel")} shape="bars" format={(value) => rate(value)} /></figure>
          <div className="scroll-x" ref={scrolls}>
            <table className="table" aria-label={t("Funnel")}>
              <thead><tr><th>{t("Stage")}</th><th className="end">{t("People")}</th><th className="end">{t("Of all")}</th><th>{t("With its interval")}</th></tr></thead>
              <tbody>
                {found.stages.map((one) => (
                  <tr key={one.stage} data-row={one.stage}>
                    <td>{stageName(one.stage)}</td>
                    <td className="end" data-people={one.people}>{count(one.people)}</td>
                    <td className="end">{rate(one.rate)}</td>
                    <td className="number">{one.low !== null && one.stage !== "messaged" && t("between {low} and {high}", { low: rate(one.low), high: rate(one.high) })}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <p className="insight-hint faint insight-wide">{t("A person counts in each stage that was reached, in any order, within {days} days of the first message.", { days: found.window_days })} {t("As of {time}", { time: when(found.as_of, zone) })}</p>
        </section>
      )}
    </div>
  );
}
