/** The check before the start: who gets the message, who does not and why, times and cost. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data, ifMatch, tagOf } from "../../api/client";
import { checkLaunch, startCampaign, type CampaignRead, type LaunchCheck, type LaunchReason } from "../../api/generated";
import { ApiProblem, plainly } from "../../api/problem";
import { count, dollars, phone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Badge, Button, Failed, Loading, Time } from "../../ui/parts";
import { reason } from "../../ui/reasons";
import { fail, say } from "../../ui/toasts";
import { Phone } from "../compose/preview";
import { Warnings } from "../compose/warnings";
import { Approval } from "./approval";
import { useChanged } from "./head";
import { TestSend } from "./test-send";
import "../composer.css";
import "./launch.css";

/** Return what the start of a draft would send, and to whom. */
function contentOf({ line_id, kind, audience, variants, schedule, pacing, rules, ab_test, follow_ups }: CampaignRead): string {
  return JSON.stringify({ line_id, kind, audience, variants, schedule, pacing, rules, ab_test, follow_ups });
}

export function Launch({ campaign }: { campaign: CampaignRead }) {
  const { id } = campaign;
  const cache = useQueryClient();
  const changed = useChanged();
  const [seen, setSeen] = useState(() => contentOf(campaign));
  const isChanged = contentOf(campaign) !== seen;
  const tag = tagOf(campaign);
  // The start sends the ETag of the campaign. The check always runs after the campaign was read. So
  // if the check shows a newer version, the start is refused.
  const check = useQuery({
    queryKey: ["campaign", id, "launch-check", tag],
    queryFn: ({ signal }) => data(checkLaunch({ path: { campaign_id: id }, signal, throwOnError: true })),
    staleTime: 0,
  });
  const start = useMutation({
    mutationFn: () => data(startCampaign({ path: { campaign_id: id }, headers: ifMatch(tag), throwOnError: true })),
    onSuccess: (one) => (changed(one), say(t("Started."))),
    onError: (error) => {
      const isOld = error instanceof ApiProblem && error.code === "changed_since";
      fail(isOld ? t("The draft has changed, so it was not started. Check it again.") : error);
      void cache.invalidateQueries({ queryKey: ["campaign", id] });
    },
  });
  const found = check.data;
  return (
    <section className="card launch" aria-labelledby="launch-title">
      <div className="card-head">
        <h2 id="launch-title">{t("Before it starts")}</h2>
        <div className="page-actions">
          {may("campaigns:write") && <Link to="/campaigns/new" search={{ draft: id }} className="button button-plain">{t("Change it")}</Link>}
          {may("campaigns:send") && <TestSend campaign={campaign} />}
          {may("campaigns:send") && (
            <Button kind="main" icon="send" busy={start.isPending} disabled={!found?.can_start || isChanged} onClick={() => start.mutate()}>{t("Start sending")}</Button>
          )}
        </div>
      </div>
      {isChanged && (
        <p className="notice notice-warn" role="alert">
          {t("Somebody has changed this draft since you opened it. Check it again before you start it.")}{" "}
          <button type="button" className="link" onClick={() => setSeen(contentOf(campaign))}>{t("I have checked it")}</button>
        </p>
      )}
      {check.isPending && <Loading lines={5} />}
      {check.isLoadingError && <Failed error={check.error} again={() => void check.refetch()} />}
      {found && <Found check={found} campaign={campaign} />}
    </section>
  );
}

function Found({ check, campaign }: { check: LaunchCheck; campaign: CampaignRead }) {
  const [at, setAt] = useState(0);
  const problems = check.problems.filter((one) => one.code !== "approval_needed");
  return (
    <div className="launch-body">
      <div className="launch-main">
        {problems.map((one) => (
          <p key={one.code + (one.pointer ?? "")} className="notice notice-bad" role="alert">
            <strong>{t("It cannot start yet.")}</strong> {plainly(one.detail)}
          </p>
        ))}
        <Approval campaign={campaign} isNeeded={check.problems.some((one) => one.code === "approval_needed")} />
        <dl className="summary">
          <div><dt>{t("Get the message")}</dt><dd data-part="would_be_texted" data-value={check.recipients.would_be_texted}>{count(check.recipients.would_be_texted)}</dd></div>
          <div><dt>{t("Of the audience")}</dt><dd data-part="total">{count(check.recipients.total)}</dd></div>
          <div><dt>{check.is_estimated ? t("Cost, estimated") : t("Cost")}</dt><dd>{dollars(check.cost)}</dd></div>
          <div><dt>{t("Segments")}</dt><dd>{count(check.segments)}</dd></div>
          <div><dt>{t("First message")}</dt><dd><Time at={check.first_send_at} /></dd></div>
          <div><dt>{t("Last message, probably")}</dt><dd><Time at={check.last_send_at} /></dd></div>
        </dl>
        <p>{plainly(check.forecast_detail)}</p>
        <Warnings warnings={check.warnings} hasVariants={campaign.variants.length > 1} />
        <h3>{t("Who gets nothing, and why")}</h3>
        {check.reasons.length === 0 ? <p className="faint">{t("Everybody in the audience gets the message.")}</p> : <ul className="stops">{check.reasons.map((one) => <Reason key={one.rule + one.outcome} reason={one} />)}</ul>}
        <details>
          <summary>{t("{n, plural, one {# rule} other {# rules}} that it obeys while it sends", { n: check.rules.length })}</summary>
          <ul className="stops">
            {check.rules.map((one) => (
              <li key={one.rule}>
                <strong>{reason(one.rule)} {one.is_binding && <Badge tone="warn">{t("delays it most")}</Badge>}</strong>
                <span>{plainly(one.detail)}</span>
              </li>
            ))}
          </ul>
        </details>
        <p className="faint">{t("Checked at")} <Time at={check.as_of} /></p>
      </div>
      <div className="launch-phone">
        <Phone sample={check.samples[at]} hasVariants={campaign.variants.length > 1} />
        {check.samples.length > 1 && (
          <div className="phone-turn">
            <Button kind="quiet" icon="left" aria-label={t("Person before")} disabled={at <= 0} onClick={() => setAt(at - 1)} />
            <span className="number faint">{t("{n} of {all}", { n: at + 1, all: check.samples.length })}</span>
            <Button kind="quiet" icon="right" aria-label={t("Next person")} disabled={at >= check.samples.length - 1} onClick={() => setAt(at + 1)} />
          </div>
        )}
      </div>
    </div>
  );
}

function Reason({ reason: one }: { reason: LaunchReason }) {
  const outcome = { skipped: t("get nothing"), review: t("wait for your review"), held: t("are on hold") }[one.outcome] ?? one.outcome;
  const rest = one.people - one.sample.length;
  return (
    <li>
      <strong><Badge tone={one.outcome === "skipped" ? "neutral" : "hold"}>{count(one.people)}</Badge> {reason(one.rule)} <span className="faint">· {outcome}</span></strong>
      <span>{plainly(one.detail)}</span>
      <small>
        {one.sample.map((person, at) => (
          <span key={person.contact_id}>
            {at > 0 && ", "}
            <Link to="/contacts/$id" params={{ id: person.contact_id }} className="link">{person.name ?? phone(person.phone)}</Link>
          </span>
        ))}
        {rest > 0 && one.sample.length > 0 && ` ${t("and {n} more", { n: count(rest) })}`}
      </small>
    </li>
  );
}
