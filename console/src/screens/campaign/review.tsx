/** Decisions about people who were contacted before, and about messages with unclear results. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { reviewRecipients } from "../../api/generated";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Button } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";

type Decision = "approve" | "reject";

/**
 * Return the request for a decision. For one person, the request decides at once. For all waiting
 * people, the request is only a dry run, which the user then confirms.
 */
export function useReview(id: string) {
  const cache = useQueryClient();
  const path = { campaign_id: id };
  const refresh = () => void cache.invalidateQueries({ queryKey: ["campaign", id] });
  const ask = useMutation({
    mutationFn: async ({ decision, person }: { decision: Decision; person?: string }) => {
      const who = person ? { contact_ids: [person] } : { all: true as const };
      const found = await data(reviewRecipients({ path, body: { decision, dry_run: true, ...who }, throwOnError: true }));
      const token = found.token ?? "";
      if (person) await reviewRecipients({ path, body: { decision, token, ...who }, throwOnError: true });
      return { decision, token, person, affected: decision === "approve" ? found.approved : found.rejected };
    },
    onSuccess: (found) => {
      if (!found.person) return;
      refresh();
      say(found.decision === "approve" ? t("The person gets the message.") : t("The person is left out."));
    },
    onError: fail,
  });
  return { ask, refresh, path };
}

export function Review({ id, waiting }: { id: string; waiting: number }) {
  const { ask, refresh, path } = useReview(id);
  const [asked, setAsked] = useState<{ decision: Decision; token: string; affected: number } | null>(null);
  const decide = useMutation({
    mutationFn: () => data(reviewRecipients({ path, body: { decision: asked!.decision, all: true, token: asked!.token }, throwOnError: true })),
    onSuccess: refresh,
    onError: fail,
    onSettled: () => setAsked(null),
  });
  const begin = (decision: Decision) => ask.mutate({ decision }, { onSuccess: setAsked });
  return (
    <section className="card card-head" aria-label={t("Review")}>
      <p>{t("{n, plural, one {# person was contacted before and waits} other {# people were contacted before and wait}} for your decision.", { n: waiting })}</p>
      <div className="page-actions">
        <Link to="/campaigns/$id" params={{ id }} search={{ status: "review" }} className="button button-quiet" resetScroll={false}>{t("Show them")}</Link>
        {may("campaigns:send") && (
          <>
            <Button busy={ask.isPending} onClick={() => begin("approve")}>{t("Send to all of them")}</Button>
            <Button busy={ask.isPending} onClick={() => begin("reject")}>{t("Leave all out")}</Button>
          </>
        )}
      </div>
      {asked && (
        <Dialog
          title={asked.decision === "approve" ? t("Send to all of them?") : t("Leave all out?")}
          onClose={() => setAsked(null)}
          footer={
            <>
              <Button onClick={() => setAsked(null)}>{t("Go back")}</Button>
              <Button kind="main" busy={decide.isPending} onClick={() => decide.mutate()}>{t("Confirm")}</Button>
            </>
          }
        >
          <p>{t("This concerns {n, plural, one {# person} other {# people}}.", { n: asked.affected })}</p>
        </Dialog>
      )}
    </section>
  );
}

export function Parked({ id, waiting }: { id: string; waiting: number }) {
  return (
    <section className="card card-head" aria-label={t("Need a decision")}>
      <p>{t("The provider gave no clear answer for {n, plural, one {# message} other {# messages}}. Look at each in the provider's app, then say whether it was sent.", { n: waiting })}</p>
      <Link to="/campaigns/$id" params={{ id }} search={{ parked: "yes" }} className="button button-plain" resetScroll={false}>{t("Show them")}</Link>
    </section>
  );
}
