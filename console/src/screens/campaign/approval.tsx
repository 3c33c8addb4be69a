/** The approval of a draft by a second user: a notice with buttons to ask for it and to give it. */
import { useMutation } from "@tanstack/react-query";
import { data } from "../../api/client";
import { approveCampaign, createTask, type CampaignRead } from "../../api/generated";
import { ApiProblem, sentenceOf } from "../../api/problem";
import { now } from "../../clock";
import { useNameOf } from "../../colleagues";
import { t } from "../../i18n";
import { may } from "../../session";
import { Button, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { useChanged } from "./head";

const DAY_MS = 86_400_000;

export function Approval({ campaign, isNeeded }: { campaign: CampaignRead; isNeeded: boolean }) {
  const changed = useChanged();
  const nameOf = useNameOf();
  const approve = useMutation({
    mutationFn: () => data(approveCampaign({ path: { campaign_id: campaign.id }, body: {}, throwOnError: true })),
    onSuccess: (one) => (changed(one), say(t("Approved. It may start now."))),
  });
  const ask = useMutation({
    mutationFn: () => {
      const title = t("Approve the campaign “{name}”: {address}", { name: campaign.name.slice(0, 80), address: `${location.origin}/campaigns/${campaign.id}` });
      return data(createTask({ body: { title, due_at: new Date(now() + DAY_MS).toISOString() }, throwOnError: true }));
    },
    onSuccess: () => say(t("Asked. A task for everybody is on Today.")),
    onError: fail,
  });
  if (campaign.approved_at) {
    return (
      <p className="notice notice-good">
        {t("Approved by {name}.", { name: campaign.approved_by ? nameOf(campaign.approved_by) : "–" })} <Time at={campaign.approved_at} /> {t("A change of the draft removes it.")}
      </p>
    );
  }
  if (!isNeeded) return null;
  const isOwn = approve.error instanceof ApiProblem && approve.error.code === "own_approval";
  return (
    <div className="notice notice-warn approval">
      <div>
        <strong>{t("It needs the approval of a second person.")}</strong>{" "}
        {t("Somebody who did not write it opens this page and approves it. Or use only approved templates.")}
        {approve.error && <p role="alert"><strong>{isOwn ? t("You wrote it, so somebody else must approve it.") : sentenceOf(approve.error)}</strong></p>}
      </div>
      <div className="page-actions">
        {may("contacts:write") && <Button busy={ask.isPending} disabled={ask.isSuccess} onClick={() => ask.mutate()}>{t("Ask for approval")}</Button>}
        {may("admin") && <Button busy={approve.isPending} onClick={() => approve.mutate()}>{t("Approve")}</Button>}
      </div>
    </div>
  );
}
