/** The head of a printed report: the line, the times of the campaign, and the time of printing. */
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { listLines, type CampaignRead } from "../../api/generated";
import { now } from "../../clock";
import { phone, when } from "../../format";
import { t } from "../../i18n";
import "./print.css";

export function ReportHead({ campaign }: { campaign: CampaignRead }) {
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const line = lines.data?.data.find((one) => one.id === campaign.line_id);
  return (
    <p className="report-head" aria-hidden="true">
      {line && <span>{line.name} {phone(line.number)}</span>}
      {campaign.started_at && <span>{t("Began")} {when(campaign.started_at)}</span>}
      {campaign.finished_at && <span>{t("Ended")} {when(campaign.finished_at)}</span>}
      <span>{t("Printed {time}", { time: when(new Date(now()).toISOString()) })}</span>
    </p>
  );
}
