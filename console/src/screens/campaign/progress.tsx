/** The progress of a campaign: recipients by status, forecast, and rates that can pause it. */
import { Link, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { forecastCampaign, type CampaignRead, type CampaignStats } from "../../api/generated";
import { plainly } from "../../api/problem";
import { count, rate, when } from "../../format";
import { t } from "../../i18n";
import { Loading, Meter, Time } from "../../ui/parts";
import { reason } from "../../ui/reasons";
import { Truth } from "../../ui/truth";
import { ENDED } from "./head";

export function Halted({ campaign }: { campaign: CampaignRead }) {
  if (campaign.status === "paused" && campaign.paused_reason) {
    const why = {
      opt_out_rate: t("It paused itself, because too many people opted out."),
      failure_rate: t("It paused itself, because too many messages failed."),
      missed_start: t("It could not begin in time, so it paused itself."),
      restored: t("It is paused, because the database was restored from a backup."),
    }[campaign.paused_reason];
    const evidence = campaign.paused_evidence?.sentence;
    return (
      <p className="notice notice-warn" role="status">
        <strong>{why}</strong> {typeof evidence === "string" && evidence} {t("Look at the people below, then resume or cancel.")}
      </p>
    );
  }
  if (campaign.status === "blocked") {
    return (
      <p className="notice notice-bad" role="status">
        <strong>{t("The provider refused this campaign.")}</strong> {campaign.blocked_reason} {t("Correct the cause at the provider, then resume.")}
      </p>
    );
  }
  return null;
}

type Figure = { name: "replied" | "opted_out" | "parked"; label: string; value: number; more?: string };

export function Progress({ id, stats }: { id: string; stats: CampaignStats }) {
  const filter = useSearch({ from: "/shell/campaigns/$id" });
  const opening: Figure[] = [
    { name: "replied", label: t("Replied"), value: stats.replied, more: rate(stats.response_rate) },
    { name: "opted_out", label: t("Opted out"), value: stats.opted_out },
    { name: "parked", label: t("Need a decision"), value: stats.parked },
  ];
  return (
    <section className="card card-body truth" aria-label={t("Progress")}>
      <p className="truth-total">
        <b data-figure="recipients_total" data-value={stats.recipients_total}>{count(stats.recipients_total)}</b>
        <span className="faint">{t("recipients; each part below opens its people")}</span>
      </p>
      <Truth counts={stats.by_status} total={stats.recipients_total} id={id} current={filter.status} />
      <dl className="figures">
        {opening.map(({ name, label, value, more }) => (
          <div key={name}>
            <dt>{label}</dt>
            <dd>
              <Link to="/campaigns/$id" params={{ id }} search={filter[name] ? {} : { [name]: "yes" }} aria-current={filter[name] ? "true" : undefined} aria-label={`${label}: ${count(value)}`} resetScroll={false}>
                <span data-figure={name} data-value={value}>{count(value)}</span>
              </Link>
              {name === "replied" && <small data-figure="response_rate" data-value={stats.response_rate ?? ""}>{more}</small>}
            </dd>
          </div>
        ))}
        <div>
          <dt>{t("Sent today")}</dt>
          <dd data-figure="sent_today" data-value={stats.sent_today}>{count(stats.sent_today)}</dd>
        </div>
        <div>
          <dt>{t("Left today")}</dt>
          <dd data-figure="remaining_today" data-value={stats.remaining_today}>{count(stats.remaining_today)}</dd>
        </div>
      </dl>
    </section>
  );
}

export function Forecast({ id, campaign, stats }: { id: string; campaign: CampaignRead; stats: CampaignStats }) {
  const forecast = useQuery({
    queryKey: ["campaign", id, "forecast"],
    queryFn: () => data(forecastCampaign({ path: { campaign_id: id }, throwOnError: true })),
    staleTime: 30_000,
  });
  const limit = stats.sent_today + stats.remaining_today;
  const isOver = ENDED.has(campaign.status);
  const found = forecast.data;
  return (
    <section className="card card-body forecast" aria-label={t("Forecast")}>
      <h2>{isOver ? t("Finished") : t("Finishes")}</h2>
      {isOver && <Dates campaign={campaign} />}
      {!isOver && found && (
        <>
          <dl>
            {found.p50_finish_at ? (
              <>
                <div>
                  <dt>{t("Probably by")}</dt>
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
          {found.binding_rule && <p><strong>{t("What delays it most: {rule}.", { rule: reason(found.binding_rule).toLowerCase() })}</strong></p>}
          <p>{plainly(found.detail)}</p>
          {found.if_lifted?.p50_finish_at && <p className="faint">{t("If it went on now: {time}.", { time: when(found.if_lifted.p50_finish_at) })}</p>}
          {found.not_reached > 0 && <p className="notice notice-warn">{t("{n, plural, one {# person is} other {# people are}} probably not reached before the end.", { n: found.not_reached })}</p>}
        </>
      )}
      {!isOver && forecast.isPending && <Loading lines={2} />}
      {!isOver && (
        <div>
          <Meter value={stats.sent_today} of={limit} label={t("Sent today of the daily limit")} />
          <p className="faint number">{t("{n} of {limit} today", { n: count(stats.sent_today), limit: count(limit) })}</p>
        </div>
      )}
    </section>
  );
}

function Dates({ campaign }: { campaign: CampaignRead }) {
  return (
    <dl>
      <div><dt>{t("Began")}</dt><dd><Time at={campaign.started_at} /></dd></div>
      <div><dt>{t("Ended")}</dt><dd><Time at={campaign.finished_at} /></dd></div>
    </dl>
  );
}

/** Show the rates that can pause the campaign. A rate and its limit are on the same scale. */
export function Breakers({ campaign, stats }: { campaign: CampaignRead; stats: CampaignStats }) {
  const { sent, delivered, failed } = stats.by_status;
  const messages = sent + delivered;
  const { max_opt_out_rate, max_failure_rate } = campaign.rules;
  const gauges: { name: string; label: string; of: number; value: number; limit: string | null }[] = [
    { name: "opt-outs", label: t("Opt-outs"), value: stats.opted_out, of: messages, limit: max_opt_out_rate },
    { name: "failures", label: t("Failures"), value: failed, of: messages + failed, limit: max_failure_rate },
  ];
  return (
    <section className="card card-body breakers" aria-labelledby="breakers-title">
      <h2 id="breakers-title">{t("When it pauses itself")}</h2>
      <div className="gauges">
        {gauges.map((one) => (one.limit === null ? <p key={one.name} className="faint">{t("{name}: no limit.", { name: one.label })}</p> : <Gauge key={one.name} {...one} limit={Number(one.limit)} />))}
      </div>
      <p className="faint">{t("It pauses when a rate is clearly above its limit, so a few messages are not enough. After a resume it counts from zero.")}</p>
    </section>
  );
}

function Gauge({ name, label, value, of, limit }: { name: string; label: string; value: number; of: number; limit: number }) {
  const found = of > 0 ? value / of : 0;
  const scale = Math.max(limit * 2, found * 1.1, 0.01);
  const at = (share: number) => `${Math.min(100, (share / scale) * 100)}%`;
  const tone = found > limit ? "bad" : found > limit * 0.6 ? "warn" : "good";
  const text = t("{rate} of {limit}", { rate: of > 0 ? rate(found) : "–", limit: rate(limit) });
  return (
    <div className="gauge" data-part={`gauge-${name}`} data-value={found}>
      <p><span>{label}</span> <strong className="number">{text}</strong></p>
      <div className="gauge-track" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={Math.round(scale * 1e4) / 1e4} aria-valuenow={Math.round(found * 1e4) / 1e4} aria-valuetext={text}>
        <span className={`gauge-fill fill-${tone}`} style={{ inlineSize: at(found) }} />
        <span className="gauge-limit" style={{ insetInlineStart: at(limit) }} title={t("Limit")} />
      </div>
      <p className="faint number">{t("{n} of {all} messages", { n: count(value), all: count(of) })}</p>
    </div>
  );
}
