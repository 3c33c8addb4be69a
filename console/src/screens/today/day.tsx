/** Parts of the Today screen: appointments, running campaigns, lines and alerts. */
import { Link } from "@tanstack/react-router";
import { acknowledgeAlert, pauseCampaign, resumeCampaign, unblockLine, updateAppointment, type AppointmentStatus, type CampaignStatus, type TodayRead } from "../../api/generated";
import { count, phone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { byName } from "../../ui/by-name";
import { Badge, Button, Meter, Time } from "../../ui/parts";
import { alertName } from "../../ui/operation-names";
import { appointmentKind, appointmentStatus } from "../../ui/sales-words";
import { TruthBar } from "../../ui/truth";
import { CAMPAIGN_TONE, campaignStatus } from "../../ui/words";
import { Part, useAct, useToday } from "./part";

export function Appointments() {
  const query = useToday();
  const { act } = useAct();
  const rows = query.data?.appointments ?? [];
  const set = (id: string, status: AppointmentStatus) => updateAppointment({ path: { appointment_id: id }, body: { status }, throwOnError: true });
  const shown = (id: string, status: AppointmentStatus) => (today: TodayRead): TodayRead => ({ ...today, appointments: today.appointments?.map((one) => (one.id === id ? { ...one, status } : one)) ?? null });
  return (
    <Part title={t("Appointments today")} query={query} isEmpty={rows.length === 0} empty={t("No appointment today.")} more={<Link to="/calendar" search={{}} className="link">{t("All")}</Link>}>
      <ul className="rows">
        {rows.map((one) => {
          const name = one.contact_name ?? appointmentKind(one.kind);
          return (
            <li key={one.id}>
              <Time at={one.starts_at} />
              <span className="rows-text">
                {one.contact_id ? <Link to="/contacts/$id" params={{ id: one.contact_id }}>{name}</Link> : name} {[appointmentKind(one.kind), one.location].filter(Boolean).join(" · ")}
              </span>
              {one.status !== "booked" && <Badge tone={one.status === "held" ? "good" : "neutral"}>{appointmentStatus(one.status)}</Badge>}
              {may("sales:write") && one.status === "booked" && (
                <span className="row-acts">
                  <Button kind="quiet" aria-label={t("No show: {name}", { name })} onClick={() => act({ run: () => set(one.id, "no_show"), shown: shown(one.id, "no_show"), done: t("{name} did not come.", { name }), undo: () => set(one.id, "booked") })}>{t("No show")}</Button>
                  <Button kind="quiet" aria-label={t("Held: the visit to {name}", { name })} onClick={() => act({ run: () => set(one.id, "held"), shown: shown(one.id, "held"), done: t("The visit to {name} took place.", { name }) })}>{t("Held")}</Button>
                </span>
              )}
            </li>
          );
        })}
      </ul>
    </Part>
  );
}

export function Running() {
  const query = useToday();
  const { act } = useAct();
  const rows = query.data?.campaigns ?? [];
  const shown = (id: string, status: CampaignStatus) => (today: TodayRead): TodayRead => ({ ...today, campaigns: today.campaigns?.map((one) => (one.id === id ? { ...one, status } : one)) ?? null });
  return (
    <Part title={t("Campaigns")} query={query} isEmpty={rows.length === 0} empty={t("No campaign is running.")} more={<Link to="/campaigns" search={{}} className="link">{t("All")}</Link>}>
      <ul className="rows">
        {rows.map((one) => {
          const { counts } = one;
          const path = { campaign_id: one.id };
          const pause = () => pauseCampaign({ path, throwOnError: true });
          const resume = () => resumeCampaign({ path, throwOnError: true });
          const parts = { delivered: counts.delivered, sent: Math.max(0, counts.sent - counts.delivered), failed: counts.failed, pending: counts.pending, sending: 0, unknown: 0, held: 0, review: 0, skipped: 0, cancelled: 0 };
          return (
            <li key={one.id} className="row today-campaign">
              <span>
                <Link to="/campaigns/$id" params={{ id: one.id }} search={{}} className="row-link">{one.name}</Link> <Badge tone={CAMPAIGN_TONE[one.status]}>{campaignStatus(one.status)}</Badge>
              </span>
              <span className="row-acts">
                {may("campaigns:send") && one.status === "running" && (
                  <Button kind="quiet" icon="pause" aria-label={t("Pause {name}", { name: one.name })} onClick={() => act({ run: pause, shown: shown(one.id, "paused"), done: t("{name} is paused. No further message leaves.", { name: one.name }), undo: resume })}>{t("Pause")}</Button>
                )}
                {may("campaigns:send") && one.status === "paused" && (
                  <Button kind="quiet" icon="play" aria-label={t("Resume {name}", { name: one.name })} onClick={() => act({ run: resume, shown: shown(one.id, "running"), done: t("{name} goes on.", { name: one.name }), undo: pause })}>{t("Resume")}</Button>
                )}
              </span>
              <TruthBar counts={parts} total={counts.recipients} label={t("{sent} of {all} sent", { sent: count(counts.sent), all: count(counts.recipients) })} />
              <span className="faint number">{t("{sent} of {all} sent", { sent: count(counts.sent), all: count(counts.recipients) })} · {t("{n} replied", { n: count(counts.replied) })}</span>
            </li>
          );
        })}
      </ul>
    </Part>
  );
}

export function Lines() {
  const query = useToday();
  const { act } = useAct();
  const rows = byName(query.data?.lines);
  return (
    <Part title={t("Lines today")} query={query} isEmpty={rows.length === 0} empty={may("admin") ? <>{t("There is no line yet.")} <Link to="/settings" search={{ part: "lines" }} className="link">{t("Read them from the provider")}</Link></> : t("There is no line yet.")} more={may("admin") && <Link to="/settings" search={{ part: "lines" }} className="link">{t("Limits")}</Link>}>
      <ul className="rows">
        {rows.map((one) => {
          const name = one.name || phone(one.number);
          return (
            <li key={one.id} className="today-line">
              <span>{name} {one.status === "blocked" && <Badge tone="bad">{t("Blocked")}</Badge>}</span>
              <span className="faint number">{t("{n} of {limit} today", { n: count(one.sent_today), limit: count(one.limit_today) })}</span>
              {one.status === "blocked" && (
                <span className="today-blocked">
                  {one.blocked_reason}{" "}
                  {may("campaigns:write") && <Button aria-label={t("Unblock {name}", { name })} onClick={() => act({ run: () => unblockLine({ path: { line_id: one.id }, throwOnError: true }), done: t("{name} may send again.", { name }) })}>{t("Unblock")}</Button>}
                </span>
              )}
              <Meter value={one.sent_today} of={one.limit_today} label={t("Sent today by {name}", { name })} tone={one.sent_today >= one.limit_today ? "warn" : "info"} />
            </li>
          );
        })}
      </ul>
    </Part>
  );
}

export function Alerts() {
  const query = useToday();
  const { act } = useAct();
  const rows = query.data?.alerts ?? [];
  return (
    <Part title={t("Alerts")} query={query} isEmpty={rows.length === 0} empty={t("Nothing needs you.")} more={<Link to="/operations" search={{}} className="link">{t("What to do")}</Link>}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <span className="rows-text" title={one.detail}>{typeof one.context?.conversation_id === "string" ? <Link to="/inbox/$id" params={{ id: one.context.conversation_id }} search={{}}>{alertName(one.kind)}</Link> : <strong>{alertName(one.kind)}</strong>} {one.detail}</span>
            <Time at={one.last_seen_at} relative />
            <span className="row-acts">
              {one.acknowledged_at ? (
                <span className="faint">{t("Seen")}</span>
              ) : (
                <Button
                  kind="quiet"
                  aria-label={t("I have seen {name}", { name: alertName(one.kind) })}
                  onClick={() => act({
                    run: () => acknowledgeAlert({ path: { alert_id: one.id }, throwOnError: true }),
                    shown: (today) => ({ ...today, alerts: today.alerts?.map((other) => (other.id === one.id ? { ...other, acknowledged_at: new Date().toISOString() } : other)) ?? null }),
                    done: t("Marked as seen. It ends by itself when its cause does."),
                  })}
                >
                  {t("Seen")}
                </Button>
              )}
            </span>
          </li>
        ))}
      </ul>
    </Part>
  );
}
