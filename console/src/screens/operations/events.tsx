/** The events of the provider: failures by cause, a button to apply them again, and all events. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { listErrors, listEvents, replayEvent, replayEvents, type ErrorClassRead, type WebhookEventRead, type WebhookEventStatus } from "../../api/generated";
import { count } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Time, scrolls } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { plain } from "../../ui/words";
import { Raw, Shown, TONE } from "./shown";

const STATUSES: WebhookEventStatus[] = ["pending", "processed", "failed", "dead", "ignored"];

export function Events() {
  return (
    <>
      <Causes />
      <AllEvents />
    </>
  );
}

function Causes() {
  const cache = useQueryClient();
  const errors = useQuery({ queryKey: ["webhook-errors"], queryFn: () => data(listErrors({ query: { limit: 50 }, throwOnError: true })), refetchInterval: 30_000 });
  const [asked, setAsked] = useState<{ code: string; matched: number; token: string } | null>(null);
  const ask = useMutation({
    mutationFn: async (code: string) => {
      const found = await data(replayEvents({ body: { error_code: code, dry_run: true }, throwOnError: true }));
      return { code, matched: found.matched, token: found.token ?? "" };
    },
    onSuccess: setAsked,
    onError: fail,
  });
  const replay = useMutation({
    mutationFn: () => data(replayEvents({ body: { error_code: asked!.code, token: asked!.token }, throwOnError: true })),
    onSuccess: (done) => {
      say(t("{n, plural, one {# event is} other {# events are}} applied again.", { n: done.replayed }));
      void cache.invalidateQueries({ queryKey: ["webhook-events"] });
      void cache.invalidateQueries({ queryKey: ["webhook-errors"] });
    },
    onError: fail,
    onSettled: () => setAsked(null),
  });
  const rows = errors.data?.data ?? [];
  return (
    <section className="card" aria-labelledby="causes-title">
      <div className="card-head"><h2 id="causes-title">{t("What failed, by its cause")}</h2></div>
      <Shown query={errors}>
        {rows.length === 0 ? (
          <p className="card-body faint">{t("No event has failed.")}</p>
        ) : (
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead><tr><th>{t("Cause")}</th><th className="end">{t("Events")}</th><th className="end">{t("Given up")}</th><th>{t("Last")}</th><th>{t("Error")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
              <tbody>{rows.map((one) => <Cause key={one.error_code} one={one} isBusy={ask.isPending} onAsk={() => ask.mutate(one.error_code)} />)}</tbody>
            </table>
          </div>
        )}
      </Shown>
      {asked && (
        <Dialog
          title={t("Apply again?")}
          onClose={() => setAsked(null)}
          footer={<><Button onClick={() => setAsked(null)}>{t("Go back")}</Button><Button kind="main" busy={replay.isPending} disabled={asked.matched === 0} onClick={() => replay.mutate()}>{t("Apply again")}</Button></>}
        >
          <p>{t("{n, plural, one {# event has} other {# events have}} this cause. What they already did is not done twice.", { n: asked.matched })}</p>
        </Dialog>
      )}
    </section>
  );
}

function Cause({ one, isBusy, onAsk }: { one: ErrorClassRead; isBusy: boolean; onAsk: () => void }) {
  return (
    <tr>
      <td><strong>{plain(one.error_code)}</strong> <span className="faint">{one.types.join(", ")}</span></td>
      <td className="end">{count(one.events)}</td>
      <td className="end">{count(one.dead)}</td>
      <td className="faint"><Time at={one.last_seen_at} /></td>
      <td>{one.last_error}</td>
      <td className="end">{may("webhooks:write") && <Button busy={isBusy} aria-label={t("Apply all again: {cause}", { cause: plain(one.error_code) })} onClick={onAsk}>{t("Apply all again")}</Button>}</td>
    </tr>
  );
}

function AllEvents() {
  const cache = useQueryClient();
  const navigate = useNavigate({ from: "/operations" });
  const { status } = useSearch({ from: "/shell/operations" });
  const [shown, setShown] = useState<WebhookEventRead | null>(null);
  const { query } = useKeyset<WebhookEventRead>(["webhook-events", status], (cursor) =>
    data(listEvents({ query: { limit: 50, ...(cursor ? { cursor } : {}), ...(status ? { status: status as WebhookEventStatus } : {}) }, throwOnError: true })),
  );
  const replay = useMutation({
    mutationFn: (id: string) => data(replayEvent({ path: { event_id: id }, throwOnError: true })),
    onSuccess: () => (setShown(null), say(t("The event is applied again.")), void cache.invalidateQueries({ queryKey: ["webhook-events"] })),
    onError: fail,
  });
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card" aria-labelledby="events-title">
      <div className="card-head">
        <h2 id="events-title">{t("Events of the provider")}</h2>
        <select className="auto" aria-label={t("Status")} value={status ?? ""} onChange={(event) => void navigate({ search: (was) => ({ ...was, status: event.target.value || undefined }), replace: true })}>
          <option value="">{t("Any status")}</option>
          {STATUSES.map((one) => <option key={one} value={one}>{stateName(one)}</option>)}
        </select>
      </div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead>
              <tr><th>{t("Type")}</th><th>{t("Status")}</th><th>{t("Received")}</th><th className="end">{t("Attempts")}</th><th>{t("Error")}</th><th><span className="hidden">{t("Actions")}</span></th></tr>
            </thead>
            <tbody>
              {rows.map((one) => (
                <tr key={one.id}>
                  <td><code>{one.type}</code></td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                  <td className="faint"><Time at={one.received_at} /></td>
                  <td className="end">{count(one.attempts)}</td>
                  <td>{one.last_error ?? ""}</td>
                  <td className="end"><Button kind="quiet" onClick={() => setShown(one)}>{t("Show")}</Button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {rows.length === 0 && <p className="card-body faint">{status ? t("No event has this status.") : t("No event has arrived yet.")}</p>}
        <More query={query} />
      </Shown>
      {shown && (
        <Dialog
          title={shown.type}
          wide
          onClose={() => setShown(null)}
          footer={may("webhooks:write") && <Button kind="main" busy={replay.isPending} onClick={() => replay.mutate(shown.id)}>{t("Apply again")}</Button>}
        >
          <dl className="facts">
            <div><dt>{t("Status")}</dt><dd><Badge tone={TONE[shown.status] ?? "neutral"}>{stateName(shown.status)}</Badge></dd></div>
            <div><dt>{t("Id")}</dt><dd><code>{shown.provider_event_id}</code></dd></div>
            <div><dt>{t("Received")}</dt><dd><Time at={shown.received_at} /></dd></div>
            <div><dt>{t("Applied")}</dt><dd><Time at={shown.processed_at} /></dd></div>
            {shown.next_attempt_at && <div><dt>{t("Next try")}</dt><dd><Time at={shown.next_attempt_at} /></dd></div>}
            {shown.last_error && <div><dt>{t("Error")}</dt><dd>{shown.last_error}</dd></div>}
          </dl>
          <Raw label={t("As it was received")} value={shown.payload} />
        </Dialog>
      )}
    </section>
  );
}
