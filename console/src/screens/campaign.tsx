/** The screen of a campaign: the check before its start, or its progress and its recipients. */
import { Link, useParams } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { data } from "../api/client";
import { readCampaign, readStats } from "../api/generated";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { Badge, Failed, Loading, PageHead } from "../ui/parts";
import { CAMPAIGN_TONE, campaignStatus } from "../ui/words";
import { Actions, ENDED } from "./campaign/head";
import { Launch } from "./campaign/launch";
import { Breakers, Forecast, Halted, Progress } from "./campaign/progress";
import { Recipients } from "./campaign/recipients";
import { ReportHead } from "./campaign/report-head";
import { Parked, Review } from "./campaign/review";
import { Series } from "./campaign/series";
import { Variants } from "./campaign/variants";
import "./campaigns.css";

/** Time between two reads. It matters only in a browser that gets no live events. */
const AGAIN_MS = 15_000;
/** Time between two reads of a draft. No event reports that a colleague has changed it. */
const DRAFT_AGAIN_MS = 5_000;

export function Campaign() {
  const { id } = useParams({ from: "/shell/campaigns/$id" });
  const path = { campaign_id: id };
  const isMoving = (status: string | undefined) => status !== undefined && status !== "draft" && !ENDED.has(status);
  const campaign = useQuery({
    queryKey: ["campaign", id],
    queryFn: () => data(readCampaign({ path, throwOnError: true })),
    refetchInterval: ({ state }) => (state.data?.status === "draft" ? DRAFT_AGAIN_MS : isMoving(state.data?.status) ? AGAIN_MS : false),
  });
  const isDraft = campaign.data?.status === "draft";
  const stats = useQuery({
    queryKey: ["campaign", id, "stats"],
    queryFn: () => data(readStats({ path, throwOnError: true })),
    enabled: !!campaign.data && !isDraft,
    // Also read the figures of an ended campaign: a late delivery report or a new day changes them.
    refetchInterval: isDraft ? false : AGAIN_MS,
  });
  const back = (
    <Link to="/campaigns" search={{}} className="back" aria-label={t("Back to the campaigns")}>
      <Icon name="left" />
    </Link>
  );
  if (!campaign.data) {
    return (
      <>
        <PageHead title={t("Campaign")} before={back} />
        {campaign.isLoadingError ? <Failed error={campaign.error} again={() => void campaign.refetch()} /> : <Loading />}
      </>
    );
  }
  const one = campaign.data;
  const found = stats.data;
  return (
    <>
      <PageHead title={one.name} before={back} actions={<Actions campaign={one} />}>
        <Badge tone={CAMPAIGN_TONE[one.status]}>{campaignStatus(one.status)}</Badge>
        {one.archived && <Badge>{t("Archived")}</Badge>}
      </PageHead>
      <ReportHead campaign={one} />
      <div className="campaign">
        <Halted campaign={one} />
        {isDraft && <p className="notice">{t("This campaign is a draft. Nothing is sent before it is started.")}</p>}
        {isDraft && <Launch campaign={one} />}
        {stats.isLoadingError && <Failed error={stats.error} again={() => void stats.refetch()} />}
        {found && (
          <>
            <div className="campaign-top">
              <Progress id={id} stats={found} />
              <Forecast id={id} campaign={one} stats={found} />
            </div>
            {found.by_status.review > 0 && <Review id={id} waiting={found.by_status.review} />}
            {found.parked > 0 && <Parked id={id} waiting={found.parked} />}
            {!ENDED.has(one.status) && <Breakers campaign={one} stats={found} />}
          </>
        )}
        <Series campaign={one} />
        <Variants campaign={one} stats={found} />
        {!isDraft && <Recipients campaign={one} />}
      </div>
    </>
  );
}
