/** The occurrences of a repeated campaign: existing campaigns, and later occurrences. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { getCalendar, updateCampaign, type CampaignRead } from "../../api/generated";
import { now } from "../../clock";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Badge, Button, Failed, Loading, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { CAMPAIGN_TONE, campaignStatus } from "../../ui/words";
import { dateOf } from "../../ui/zoned";
import { repeatName } from "../compose/repeats";
import { useChanged } from "./head";

const AHEAD_MS = 180 * 86_400_000;
const SHOWN = 12;

export function Series({ campaign }: { campaign: CampaignRead }) {
  const { recurrence } = campaign;
  if (campaign.series_id) {
    return (
      <p className="notice">
        {t("This is an occurrence of a repeated campaign.")}{" "}
        <Link to="/campaigns/$id" params={{ id: campaign.series_id }} search={{}} className="link">{t("Open the first one")}</Link>
      </p>
    );
  }
  return recurrence && <Occurrences campaign={campaign} rule={recurrence} />;
}

function Occurrences({ campaign, rule }: { campaign: CampaignRead; rule: NonNullable<CampaignRead["recurrence"]> }) {
  const changed = useChanged();
  const zone = currentZone();
  const from = dateOf(now(), zone);
  const to = dateOf(now() + AHEAD_MS, zone);
  const calendar = useQuery({
    queryKey: ["campaign", campaign.id, "occurrences", from, zone],
    queryFn: () => data(getCalendar({ query: { from, to, timezone: zone }, throwOnError: true })),
  });
  const save = useMutation({
    mutationFn: (paused: boolean | null) =>
      data(updateCampaign({ path: { campaign_id: campaign.id }, body: { recurrence: paused === null ? null : { rrule: rule.rrule, timezone: rule.timezone, paused } }, throwOnError: true })),
    onSuccess: (one) => (changed(one), say(one.recurrence ? (one.recurrence.paused ? t("No further occurrence is drafted.") : t("Occurrences are drafted again.")) : t("It repeats no more. Drafts that exist stay."))),
    onError: fail,
  });
  const own = (calendar.data?.occurrences ?? []).filter((one) => one.series_id === campaign.id);
  return (
    <section className="card" aria-labelledby="series-title">
      <div className="card-head">
        <h2 id="series-title">
          {t("Repeats")} <span className="faint">· {repeatName(rule.rrule) ?? rule.rrule} · {rule.timezone}</span> {rule.paused && <Badge tone="warn">{t("Paused")}</Badge>}
        </h2>
        <div className="page-actions">
          <Link to="/calendar" search={{}} className="button button-quiet">{t("Calendar")}</Link>
          {may("campaigns:write") && (
            <>
              <Button busy={save.isPending} onClick={() => save.mutate(!rule.paused)}>{rule.paused ? t("Draft occurrences again") : t("Pause the series")}</Button>
              <Button kind="danger" busy={save.isPending} onClick={() => save.mutate(null)}>{t("End the series")}</Button>
            </>
          )}
        </div>
      </div>
      <div className="card-body">
        {calendar.isPending && <Loading lines={3} />}
        {calendar.isLoadingError && <Failed error={calendar.error} again={() => void calendar.refetch()} />}
        {calendar.data && own.length === 0 && <p className="faint">{t("No occurrence in the next half year.")}</p>}
        <ol className="occurrences">
          {own.slice(0, SHOWN).map((one) => (
            <li key={one.at}>
              <Time at={one.at} />
              {one.campaign_id && one.status ? (
                <>
                  <Link to="/campaigns/$id" params={{ id: one.campaign_id }} search={{}} className="link">{one.name}</Link>
                  <Badge tone={CAMPAIGN_TONE[one.status]}>{campaignStatus(one.status)}</Badge>
                </>
              ) : (
                <span className="faint">{t("drafted two weeks before")}</span>
              )}
            </li>
          ))}
        </ol>
        {own.length > SHOWN && <p className="faint">{t("and so on")}</p>}
      </div>
    </section>
  );
}
