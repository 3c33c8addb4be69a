/** The alerts: what needs the attention of a user, since when, and what to do about it. */
import { Link } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { acknowledgeAlert, listAlerts, type AlertRead } from "../../api/generated";
import { t } from "../../i18n";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { alertName } from "../../ui/operation-names";
import { helpOf, placeOf } from "./help";
import { Command, Raw, Shown, TONE } from "./shown";

export function Alerts() {
  const { query } = useKeyset<AlertRead>(["alerts", "all"], (cursor) => data(listAlerts({ query: { limit: 100, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const [kind, setKind] = useState("");
  const all = query.data?.pages.flatMap((page) => page.data) ?? [];
  const kinds = [...new Set(all.map((one) => one.kind))].sort();
  const rows = kind ? all.filter((one) => one.kind === kind) : all;
  const open = rows.filter((one) => one.status !== "resolved");
  const old = rows.filter((one) => one.status === "resolved");
  return (
    <Shown query={query}>
      <section className="card" aria-labelledby="open-alerts">
        <div className="card-head">
          <h2 id="open-alerts">{t("Need somebody")}</h2>
          {kinds.length > 1 && (
            <select className="auto" aria-label={t("Kind")} value={kind} onChange={(event) => setKind(event.target.value)}>
              <option value="">{t("Any kind")}</option>
              {kinds.map((one) => <option key={one} value={one}>{alertName(one)}</option>)}
            </select>
          )}
        </div>
        {open.length === 0 ? <p className="card-body faint">{t("Nothing needs you.")}</p> : <ul>{open.map((one) => <Alert key={one.id} alert={one} />)}</ul>}
      </section>
      {old.length > 0 && (
        <section className="card" aria-labelledby="old-alerts">
          <div className="card-head"><h2 id="old-alerts">{t("Resolved")}</h2></div>
          <ul>{old.map((one) => <Alert key={one.id} alert={one} />)}</ul>
          <More query={query} />
        </section>
      )}
    </Shown>
  );
}

function Alert({ alert: one }: { alert: AlertRead }) {
  const cache = useQueryClient();
  const acknowledge = useMutation({
    mutationFn: () => data(acknowledgeAlert({ path: { alert_id: one.id }, throwOnError: true })),
    onSuccess: () => {
      void cache.invalidateQueries({ queryKey: ["alerts"] });
      void cache.invalidateQueries({ queryKey: ["today"] });
      say(t("Noted. No more mails about it."));
    },
    onError: fail,
  });
  const isOver = one.status === "resolved";
  const help = helpOf(one.kind);
  const place = placeOf(one);
  return (
    <li className="alert-row">
      <div className="alert-text">
        <p>
          <Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge> <strong>{alertName(one.kind)}</strong> {one.count > 1 && <span className="faint">{t("{n} times", { n: one.count })}</span>}
        </p>
        <p>{one.detail}</p>
        {!isOver && help.todo && <p className="alert-todo"><strong>{t("What to do:")}</strong> {help.todo}</p>}
        {!isOver && help.command && <Command>{help.command}</Command>}
        <p className="faint">
          {t("since")} <Time at={one.first_seen_at} />
          {one.count > 1 && <> · {t("last")} <Time at={one.last_seen_at} /></>}
          {one.acknowledged_at && <> · {t("{name} takes care of it", { name: one.acknowledged_by ?? "–" })}</>}
          {one.resolved_at && <> · {t("resolved")} <Time at={one.resolved_at} /></>}
        </p>
        <Raw value={one.context} />
      </div>
      <div className="alert-acts">
        {!isOver && place && <Open place={place} />}
        {one.status === "open" && <Button busy={acknowledge.isPending} onClick={() => acknowledge.mutate()}>{t("I take care of it")}</Button>}
      </div>
    </li>
  );
}

function Open({ place }: { place: NonNullable<ReturnType<typeof placeOf>> }) {
  const look = "button button-plain";
  if (place.to === "/campaigns/$id") return <Link to={place.to} params={{ id: place.id }} search={{}} className={look}>{t("Open the campaign")}</Link>;
  if (place.to === "/inbox/$id") return <Link to={place.to} params={{ id: place.id }} search={{}} className={look}>{t("Open the conversation")}</Link>;
  if (place.to === "/contacts/$id") return <Link to={place.to} params={{ id: place.id }} className={look}>{t("Open the contact")}</Link>;
  if ("part" in place) return <Link to={place.to} search={{ part: place.part }} className={look}>{t("Open")}</Link>;
  return <Link to={place.to} search={{}} className={look}>{t("Open")}</Link>;
}
