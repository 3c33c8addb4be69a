/** One campaign: one stacked truth, its forecast, its variants, its people, and why each of them waits. */
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import {
  cancelCampaign, explainRecipient, forecastCampaign, listRecipients, pauseCampaign, readCampaign, readStats, resumeCampaign,
  reviewRecipients, settleRecipient, startCampaign,
  type CampaignRead, type CampaignStats, type MembershipStatus, type RecipientRead,
} from "../api/generated";
import { sentenceOf } from "../api/problem";
import { count, phone, rate, when } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Intervals } from "../ui/interval";
import { useKeyset } from "../ui/keyset";
import { Badge, Button, Failed, Loading, Meter, PageHead, Time, scrolls } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { Truth } from "../ui/truth";
import { CAMPAIGN_TONE, campaignStatus, plain, recipientStatus, RECIPIENT_TONE } from "../ui/words";
import "./campaigns.css";

const ENDED = new Set(["completed", "cancelled"]);

export function Campaign() {
  const { id } = useParams({ from: "/shell/campaigns/$id" });
  const path = { campaign_id: id };
  const campaign = useQuery({ queryKey: ["campaign", id], queryFn: () => data(readCampaign({ path, throwOnError: true })) });
  const isDraft = campaign.data?.status === "draft";
  const stats = useQuery({
    queryKey: ["campaign", id, "stats"],
    queryFn: () => data(readStats({ path, throwOnError: true })),
    enabled: !!campaign.data && !isDraft,
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
        {campaign.isError ? <Failed error={campaign.error} again={() => void campaign.refetch()} /> : <Loading />}
      </>
    );
  }
  const one = campaign.data;
  return (
    <>
      <PageHead title={one.name} before={back} actions={may("campaigns:send") && <Actions campaign={one} />}>
        <Badge tone={CAMPAIGN_TONE[one.status]}>{campaignStatus(one.status)}</Badge>
      </PageHead>
      <div className="campaign">
        <Halted campaign={one} />
        {isDraft && <p className="notice">{t("This campaign is a draft. Nothing is sent before it is started.")}</p>}
        {stats.isError && <Failed error={stats.error} again={() => void stats.refetch()} />}
        {stats.data && (
          <>
            <div className="campaign-top">
              <Progress id={id} stats={stats.data} />
              <Forecast id={id} campaign={one} stats={stats.data} />
            </div>
            {stats.data.by_status.review > 0 && <Review id={id} waiting={stats.data.by_status.review} />}
          </>
        )}
        <Variants campaign={one} stats={stats.data} />
        {!isDraft && <Recipients id={id} variants={one.variants.map((variant) => variant.name)} />}
      </div>
    </>
  );
}

function Halted({ campaign }: { campaign: CampaignRead }) {
  if (campaign.status === "paused" && campaign.paused_reason) {
    return (
      <p className="notice notice-warn" role="status">
        <strong>{t("A rule paused this campaign: {reason}.", { reason: plain(campaign.paused_reason).toLowerCase() })}</strong>{" "}
        {t("Look at the people below, then resume or cancel.")}
      </p>
    );
  }
  if (campaign.status === "blocked") {
    return (
      <p className="notice notice-bad" role="status">
        <strong>{t("The provider refused this campaign.")}</strong> {campaign.blocked_reason}
      </p>
    );
  }
  return null;
}

function Actions({ campaign }: { campaign: CampaignRead }) {
  const cache = useQueryClient();
  const [asks, setAsks] = useState<"cancel" | "start" | null>(null);
  const act = useMutation({
    mutationFn: (action: "pause" | "resume" | "cancel" | "start") => {
      const options = { path: { campaign_id: campaign.id }, throwOnError: true } as const;
      return data(
        { pause: pauseCampaign, resume: resumeCampaign, cancel: cancelCampaign, start: startCampaign }[action](options) as Promise<{ data: CampaignRead }>,
      );
    },
    onSuccess: (changed, action) => {
      cache.setQueryData(["campaign", campaign.id], changed);
      void cache.invalidateQueries({ queryKey: ["campaign", campaign.id] });
      void cache.invalidateQueries({ queryKey: ["campaigns"] });
      say({
        pause: t("Paused. Messages that were already handed over may still arrive."),
        resume: t("Resumed."),
        cancel: t("Cancelled. Nothing more is sent."),
        start: t("Started."),
      }[action]);
      setAsks(null);
    },
    onError: (error) => (setAsks(null), fail(error)),
  });
  const { status } = campaign;
  return (
    <>
      {status === "draft" && <Button kind="main" icon="play" onClick={() => setAsks("start")}>{t("Start")}</Button>}
      {(status === "running" || status === "scheduled") && (
        <Button icon="pause" busy={act.isPending} onClick={() => act.mutate("pause")}>{t("Pause")}</Button>
      )}
      {(status === "paused" || status === "blocked") && (
        <Button kind="main" icon="play" busy={act.isPending} onClick={() => act.mutate("resume")}>{t("Resume")}</Button>
      )}
      {!ENDED.has(status) && status !== "draft" && (
        <Button kind="danger" onClick={() => setAsks("cancel")}>{t("Cancel campaign")}</Button>
      )}
      {asks && (
        <Dialog
          title={asks === "cancel" ? t("Cancel this campaign?") : t("Start this campaign?")}
          onClose={() => setAsks(null)}
          footer={
            <>
              <Button onClick={() => setAsks(null)}>{t("Go back")}</Button>
              <Button kind={asks === "cancel" ? "danger" : "main"} busy={act.isPending} onClick={() => act.mutate(asks)}>
                {asks === "cancel" ? t("Cancel campaign") : t("Start sending")}
              </Button>
            </>
          }
        >
          <p>{asks === "cancel" ? t("Nobody who still waits gets the message. This cannot be undone.") : t("Messages leave within the hours of the schedule.")}</p>
        </Dialog>
      )}
    </>
  );
}

function Progress({ id, stats }: { id: string; stats: CampaignStats }) {
  const { status } = useSearch({ from: "/shell/campaigns/$id" });
  const figures: [string, string, number | null, string?][] = [
    ["replied", t("Replied"), stats.replied, rate(stats.response_rate)],
    ["opted_out", t("Opted out"), stats.opted_out],
    ["parked", t("Need a decision"), stats.parked],
    ["sent_today", t("Sent today"), stats.sent_today],
    ["remaining_today", t("Left today"), stats.remaining_today],
  ];
  return (
    <section className="card card-body truth" aria-label={t("Progress")}>
      <p className="truth-total">
        <b data-figure="recipients_total" data-value={stats.recipients_total}>{count(stats.recipients_total)}</b>
        <span className="faint">{t("recipients; each part below opens its people")}</span>
      </p>
      <Truth counts={stats.by_status} total={stats.recipients_total} id={id} current={status} />
      <dl className="figures">
        {figures.map(([name, label, value, more]) => (
          <div key={name}>
            <dt>{label}</dt>
            <dd>
              <span data-figure={name} data-value={value ?? ""}>{count(value ?? 0)}</span>
              {more && <small {...(name === "replied" ? { "data-figure": "response_rate", "data-value": stats.response_rate ?? "" } : {})}>{more}</small>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Forecast({ id, campaign, stats }: { id: string; campaign: CampaignRead; stats: CampaignStats }) {
  const forecast = useQuery({
    queryKey: ["campaign", id, "forecast"],
    queryFn: () => data(forecastCampaign({ path: { campaign_id: id }, throwOnError: true })),
    staleTime: 30_000,
  });
  const limit = stats.sent_today + stats.remaining_today;
  const found = forecast.data;
  return (
    <section className="card card-body forecast" aria-label={t("Forecast")}>
      <h2>{ENDED.has(campaign.status) ? t("Finished") : t("Finishes")}</h2>
      {found && (
        <>
          <dl>
            {found.p50_finish_at ? (
              <>
                <div>
                  <dt>{ENDED.has(campaign.status) ? t("Last message") : t("Probably by")}</dt>
                  <dd><Time at={found.p50_finish_at} /></dd>
                </div>
                {found.p90_finish_at && found.p90_finish_at !== found.p50_finish_at && (
                  <div>
                    <dt>{t("Almost surely by (90 %)")}</dt>
                    <dd><Time at={found.p90_finish_at} /></dd>
                  </div>
                )}
              </>
            ) : (
              <dd>{t("Not at the moment")}</dd>
            )}
          </dl>
          {!ENDED.has(campaign.status) && <p>{found.detail}</p>}
          {found.if_lifted?.p50_finish_at && (
            <p className="faint">{t("If it went on now: {time}.", { time: when(found.if_lifted.p50_finish_at) })}</p>
          )}
        </>
      )}
      {forecast.isPending && <Loading lines={2} />}
      {!ENDED.has(campaign.status) && (
        <div>
          <Meter value={stats.sent_today} of={limit} label={t("Sent today of the daily limit")} />
          <p className="faint number">{t("{n} of {limit} today", { n: count(stats.sent_today), limit: count(limit) })}</p>
        </div>
      )}
    </section>
  );
}

function Review({ id, waiting }: { id: string; waiting: number }) {
  const cache = useQueryClient();
  const [asked, setAsked] = useState<{ decision: "approve" | "reject"; token: string; affected: number } | null>(null);
  const path = { campaign_id: id };
  const ask = useMutation({
    mutationFn: async (decision: "approve" | "reject") => {
      const found = await data(reviewRecipients({ path, body: { decision, all: true, dry_run: true }, throwOnError: true }));
      return { decision, token: found.token ?? "", affected: decision === "approve" ? found.approved : found.rejected };
    },
    onSuccess: setAsked,
    onError: fail,
  });
  const decide = useMutation({
    mutationFn: () => data(reviewRecipients({ path, body: { decision: asked!.decision, all: true, token: asked!.token }, throwOnError: true })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["campaign", id] }),
    onError: fail,
    onSettled: () => setAsked(null),
  });
  return (
    <section className="card card-head" aria-label={t("Review")}>
      <p>{t("{n, plural, one {# person was contacted before and waits} other {# people were contacted before and wait}} for your decision.", { n: waiting })}</p>
      <div className="page-actions">
        <Button busy={ask.isPending} onClick={() => ask.mutate("approve")}>{t("Send to all of them")}</Button>
        <Button busy={ask.isPending} onClick={() => ask.mutate("reject")}>{t("Leave all out")}</Button>
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

function Variants({ campaign, stats }: { campaign: CampaignRead; stats: CampaignStats | undefined }) {
  const found = new Map(stats?.variants.map((one) => [one.name, one]));
  return (
    <section className="card" aria-labelledby="variants-title">
      <h2 id="variants-title">{campaign.variants.length > 1 ? t("Variants") : t("Message")}</h2>
      <div className="scroll-x" ref={scrolls}>
        <table className="table variants">
          <thead>
            <tr>
              <th>{t("Name")}</th>
              <th>{t("Text")}</th>
              <th className="end">{t("Recipients")}</th>
              <th className="end">{t("Delivered")}</th>
              <th className="end">{t("Replied")}</th>
              <th className="end">{t("Opted out")}</th>
            </tr>
          </thead>
          <tbody>
            {campaign.variants.map((one) => {
              const figures = found.get(one.name);
              return (
                <tr key={one.name}>
                  <td>
                    <strong>{one.name}</strong> {campaign.variants.length > 1 && <span className="faint">{one.weight} %</span>}
                  </td>
                  <td className="message-body">{one.body}</td>
                  <td className="end" data-part="recipients">{count(figures?.recipients ?? 0)}</td>
                  <td className="end" data-part="delivered">{count(figures?.delivered ?? 0)}</td>
                  <td className="end" data-part="replied">{count(figures?.replied ?? 0)} <span className="faint">{rate(figures?.response_rate)}</span></td>
                  <td className="end" data-part="opted_out">{count(figures?.opted_out ?? 0)} <span className="faint">{rate(figures?.opt_out_rate)}</span></td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {stats && stats.variants.length > 1 && (
        <div className="variant-charts">
          <figure>
            <figcaption>{t("Reply rate with its 95 % interval")}</figcaption>
            <Intervals label={t("Reply rate")} rows={stats.variants.map((one) => ({ name: one.name, value: one.response_rate, low: one.response_interval?.low, high: one.response_interval?.high }))} />
          </figure>
          <figure>
            <figcaption>{t("Opt-out rate with its 95 % interval")}</figcaption>
            <Intervals label={t("Opt-out rate")} rows={stats.variants.map((one) => ({ name: one.name, value: one.opt_out_rate, low: one.opt_out_interval?.low, high: one.opt_out_interval?.high }))} />
          </figure>
          {stats.ab_test && <p className="message-body">{stats.ab_test.sentence}</p>}
        </div>
      )}
    </section>
  );
}

function Recipients({ id, variants }: { id: string; variants: string[] }) {
  const filter = useSearch({ from: "/shell/campaigns/$id" });
  const navigate = useNavigate({ from: "/campaigns/$id" });
  const list = useKeyset<RecipientRead>(["campaign", id, "recipients", filter.status, filter.variant], (cursor) =>
    data(
      listRecipients({
        path: { campaign_id: id },
        query: {
          limit: 100,
          ...(cursor ? { cursor } : {}),
          ...(filter.status ? { status: filter.status as MembershipStatus } : {}),
          ...(filter.variant ? { variant: filter.variant } : {}),
        },
        throwOnError: true,
      }),
    ),
  );
  const { query } = list;
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  const set = (change: typeof filter) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true, resetScroll: false });
  return (
    <section className="card" aria-labelledby="people-title">
      <div className="card-head">
        <h2 id="people-title">
          {t("People")}
          {filter.status && <span className="faint"> · {recipientStatus(filter.status as MembershipStatus)}</span>}
        </h2>
        <div className="page-actions">
          {variants.length > 1 && (
            <select aria-label={t("Variant")} value={filter.variant ?? ""} onChange={(event) => set({ variant: event.target.value || undefined })}>
              <option value="">{t("All variants")}</option>
              {variants.map((one) => <option key={one}>{one}</option>)}
            </select>
          )}
          {filter.status && <Button kind="quiet" icon="close" onClick={() => set({ status: undefined })}>{t("Show all")}</Button>}
        </div>
      </div>
      {query.isPending ? (
        <Loading />
      ) : query.isError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : rows.length === 0 ? (
        <p className="card-body faint">{t("Nobody is in this part.")}</p>
      ) : (
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead>
              <tr>
                <th>{t("Phone")}</th>
                <th>{t("Status")}</th>
                <th>{t("Why")}</th>
                <th>{t("Sent")}</th>
                <th>{t("Delivered")}</th>
                <th>{t("Replied")}</th>
                <th><span className="hidden">{t("Explain")}</span></th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.id}>
                  <td className="number"><Link to="/contacts/$id" params={{ id: row.contact_id }}>{phone(row.phone)}</Link></td>
                  <td><Badge tone={RECIPIENT_TONE[row.status]}>{recipientStatus(row.status)}</Badge></td>
                  <td className="faint">{row.skip_reason ? plain(row.skip_reason) : row.error_code ? plain(row.error_code) : ""}</td>
                  <td className="faint"><Time at={row.sent_at} /></td>
                  <td className="faint"><Time at={row.delivered_at} /></td>
                  <td className="faint"><Time at={row.replied_at} /></td>
                  <td className="end">
                    <Button kind="quiet" aria-label={t("Explain {phone}", { phone: phone(row.phone) })} onClick={() => set({ person: row.contact_id })}>{t("Explain")}</Button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {query.hasNextPage && (
            <p className="more">
              <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button>
            </p>
          )}
        </div>
      )}
      {filter.person && <Explain id={id} person={filter.person} onClose={() => set({ person: undefined })} />}
    </section>
  );
}

function Explain({ id, person, onClose }: { id: string; person: string; onClose: () => void }) {
  const cache = useQueryClient();
  const path = { campaign_id: id, contact_id: person };
  const found = useQuery({
    queryKey: ["campaign", id, "explain", person],
    queryFn: () => data(explainRecipient({ path, throwOnError: true })),
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
                <strong>{plain(stop.rule)}</strong>
                <span>{stop.detail}</span>
                {stop.until && <small>{t("Until {time}", { time: when(stop.until) })}</small>}
              </li>
            ))}
          </ul>
          {one.reading && (
            <p className="notice">
              {t("The reply was read as {kind}, decided by {by}.", { kind: plain(one.reading.kind).toLowerCase(), by: plain(one.reading.decided_by).toLowerCase() })}
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
