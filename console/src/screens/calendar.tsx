/** A month of campaigns and of planned messages per day. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { data } from "../api/client";
import { getCalendar } from "../api/generated";
import { count, currentZone } from "../format";
import { language, t } from "../i18n";
import { Button, Failed, Loading, PageHead } from "../ui/parts";
import { CAMPAIGN_TONE, campaignStatus } from "../ui/words";
import "./calendar.css";

const iso = (at: Date): string => `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;

export function Calendar() {
  const { month } = useSearch({ from: "/shell/calendar" });
  const navigate = useNavigate({ from: "/calendar" });
  const today = new Date();
  const [year, at] = month ? month.split("-").map(Number) : [today.getFullYear(), today.getMonth() + 1];
  const first = new Date(year!, at! - 1, 1);
  const next = new Date(year!, at!, 1);
  const zone = currentZone();
  const query = useQuery({
    queryKey: ["campaigns", "calendar", iso(first), zone],
    queryFn: () => data(getCalendar({ query: { from: iso(first), to: iso(next), timezone: zone }, throwOnError: true })),
  });
  const turn = (by: number) => {
    const to = new Date(year!, at! - 1 + by, 1);
    void navigate({ search: { month: iso(to).slice(0, 7) }, replace: true });
  };
  const name = new Intl.DateTimeFormat(language(), { month: "long", year: "numeric" }).format(first);
  const weekday = new Intl.DateTimeFormat(language(), { weekday: "short" });
  const days = Array.from({ length: Math.round((next.getTime() - first.getTime()) / 86_400_000) }, (_, day) => new Date(year!, at! - 1, day + 1));
  const lead = (first.getDay() + 6) % 7;
  const dayOf = (instant: string) => new Intl.DateTimeFormat("en-CA", { timeZone: zone }).format(new Date(instant));
  return (
    <>
      <PageHead
        title={t("Calendar")}
        actions={
          <>
            <Button icon="left" aria-label={t("Month before")} onClick={() => turn(-1)} />
            <Button icon="right" aria-label={t("Next month")} onClick={() => turn(1)} />
          </>
        }
      >
        <span className="faint" aria-live="polite">{name} · {zone}</span>
      </PageHead>
      {query.isPending ? (
        <Loading lines={8} />
      ) : query.isError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : (
        <div className="page-body">
          {query.data.is_partial && <p className="notice">{t("There are more campaigns than fit; the latest are left out.")}</p>}
          <ol className="month" aria-label={name}>
            {days.map((day, index) => {
              const date = iso(day);
              const planned = query.data.days.filter((one) => one.date === date).reduce((sum, one) => sum + one.planned, 0);
              const starting = query.data.campaigns.filter((one) => dayOf(one.starts_at) === date);
              const drafted = query.data.occurrences.filter((one) => !one.campaign_id && dayOf(one.at) === date);
              return (
                <li key={date} style={index === 0 ? { gridColumnStart: lead + 1 } : undefined} aria-current={date === iso(today) ? "date" : undefined}>
                  <p>
                    <span className="month-week">{weekday.format(day)} </span>
                    <b className="number">{day.getDate()}</b>
                    {planned > 0 && <span className="faint number">{t("{n} planned", { n: count(planned) })}</span>}
                  </p>
                  {starting.map((one) => (
                    <Link key={one.id} to="/campaigns/$id" params={{ id: one.id }} search={{}} className={`month-item badge-${CAMPAIGN_TONE[one.status]}`} title={campaignStatus(one.status)}>
                      {one.name}
                    </Link>
                  ))}
                  {drafted.map((one) => <span key={one.series_id + one.at} className="month-item badge-neutral">{one.name}</span>)}
                </li>
              );
            })}
          </ol>
        </div>
      )}
    </>
  );
}
