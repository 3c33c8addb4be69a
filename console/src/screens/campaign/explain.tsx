/** The dialog that explains why a recipient got the message, gets it later, or does not get it. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { data } from "../../api/client";
import { explainRecipient, settleRecipient } from "../../api/generated";
import { plainly, sentenceOf } from "../../api/problem";
import { when } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Badge, Button, Loading } from "../../ui/parts";
import { reason } from "../../ui/reasons";
import { fail, say } from "../../ui/toasts";
import { readingDecider, readingKind } from "../../ui/code-names";
import { recipientStatus, RECIPIENT_TONE } from "../../ui/words";

export function Explain({ id, person, step, onClose }: { id: string; person: string; step: number; onClose: () => void }) {
  const cache = useQueryClient();
  const path = { campaign_id: id, contact_id: person };
  const found = useQuery({
    queryKey: ["campaign", id, "explain", person, step],
    queryFn: () => data(explainRecipient({ path, query: { step }, throwOnError: true })),
  });
  const settle = useMutation({
    mutationFn: (outcome: "sent" | "resend" | "failed") => data(settleRecipient({ path, body: { outcome }, throwOnError: true })),
    onSuccess: () => (say(t("Decided.")), void cache.invalidateQueries({ queryKey: ["campaign", id] }), onClose()),
    onError: fail,
  });
  const one = found.data;
  return (
    <Dialog title={t("Why, and when next")} onClose={onClose}>
      {found.isError && <p className="notice notice-bad" role="alert">{sentenceOf(found.error)}</p>}
      {found.isPending && <Loading lines={3} />}
      {one && (
        <>
          <p>
            <Badge tone={RECIPIENT_TONE[one.status]}>{recipientStatus(one.status)}</Badge>{" "}
            {one.would_send_now
              ? t("Nothing stops the message; it would leave now.")
              : one.next_allowed_at
                ? t("It may leave from {time}.", { time: when(one.next_allowed_at) })
                : t("It does not leave by itself.")}
          </p>
          <ul className="stops">
            {one.stops.map((stop) => (
              <li key={stop.rule}>
                <strong>{reason(stop.rule)}</strong>
                <span>{plainly(stop.detail)}</span>
                {stop.until && <small>{t("Until {time}", { time: when(stop.until) })}</small>}
              </li>
            ))}
          </ul>
          {one.variant && <p className="faint">{t("Variant {name}.", { name: one.variant })} {one.variant_reason}</p>}
          {one.reading && (
            <p className="notice">
              {t("The reply was read as {kind}, decided by {by}.", { kind: readingKind(one.reading.kind), by: readingDecider(one.reading.decided_by) })}
            </p>
          )}
          {one.rule === "parked" && may("campaigns:send") && (
            <div className="form-end">
              <Button onClick={() => settle.mutate("sent")}>{t("It was sent")}</Button>
              <Button onClick={() => settle.mutate("resend")}>{t("Send it again")}</Button>
              <Button onClick={() => settle.mutate("failed")}>{t("Count it as failed")}</Button>
            </div>
          )}
          <p>
            <Link to="/contacts/$id" params={{ id: person }} className="link">{t("Open the contact")}</Link>
          </p>
        </>
      )}
    </Dialog>
  );
}
