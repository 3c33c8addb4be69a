"""Read the content of the daily digest: what happened, and what users must do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from crm_api.domain.insight.attribution.rules import CreditsNotComputedError, find_rules
from crm_api.domain.insight.attribution.runs import fill_credits
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figures import Figure, compute_figures
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.monitoring.system_metrics.figures import Figures, OpenAlerts, Unclear
from crm_api.platform.database import UnitOfWork, typed_rows

DAYS = 7


@dataclass(frozen=True, kw_only=True)
class WeekFigures:
    """The results of seven days, for the digest mail; ``GET /v1/insight`` returns the same numbers.

    Attributes:
        since: The midnight at which the first day begins.
        until: The midnight at which the last day ends.
        revenue_attributed: The part of the revenue that is attributed to campaigns. None if the
            service has not computed this part yet.
    """

    since: datetime
    until: datetime
    messages: Figure
    reply_rate: Figure
    opt_out_rate: Figure
    appointments: Figure
    revenue: Figure
    revenue_attributed: Figure | None
    cost: Figure


async def read_week(uow: UnitOfWork, *, until: datetime, zone: str, now: datetime) -> WeekFigures:
    """Compute the results of the seven days before ``until``.

    ``until`` must be a midnight in the time zone ``zone``.
    """
    local = until.astimezone(ZoneInfo(zone))
    # The days are subtracted in local time. In a week in which the clocks are set forward or back,
    # seven local days are an hour shorter or longer than 168 hours.
    since = (local - timedelta(days=DAYS)).astimezone(UTC)
    rules = await find_rules(uow, version=None)
    request = FigureRequest(
        measure=MEASURES["messages"],
        since=since,
        until=until,
        zone=zone,
        rules_version=rules.version,
    )

    async def figure_of(measure: str) -> Figure:
        own = replace(request, measure=MEASURES[measure])
        return (await compute_figures(uow.session, own, now=now)).total

    attributed = None
    try:
        await fill_credits(uow, rules, now=now)
        attributed = await figure_of("revenue_attributed")
    except CreditsNotComputedError:
        pass
    return WeekFigures(
        since=since,
        until=until,
        messages=await figure_of("messages"),
        reply_rate=await figure_of("reply_rate"),
        opt_out_rate=await figure_of("opt_out_rate"),
        appointments=await figure_of("appointments"),
        revenue=await figure_of("revenue"),
        revenue_attributed=attributed,
        cost=await figure_of("cost"),
    )


MOST_CAMPAIGNS = 20


@dataclass(frozen=True, kw_only=True)
class MessageFigures:
    """Message counts of a period, for one campaign or for all messages outside campaigns.

    Attributes:
        name: The name of the campaign; None for messages outside campaigns.
        sent: Messages that the provider accepted in the period, without test messages.
        delivered: Messages of ``sent`` that have been delivered until now.
        failed: Messages of ``sent`` that have failed until now.
        received: Messages from people in the period.
        answered: People who replied: they sent at least one of the received messages.
        opted_out: People who sent a message in the period and were opted out in the same period.
    """

    name: str | None
    sent: int
    delivered: int
    failed: int
    received: int
    answered: int
    opted_out: int


@dataclass(frozen=True, kw_only=True)
class StoppedSender:
    """A blocked phone line, or a campaign that is blocked or was paused automatically."""

    id: str
    name: str
    status: str
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Digest:
    """The content of a daily digest.

    Attributes:
        since: The beginning of the reported period.
        until: The end of the reported period.
        zone: The time zone in which the mail shows days.
        texts: Message counts: one item for each campaign, and one item for all messages outside
            campaigns.
        opt_outs: The numbers that were opted out in the period, in any way.
        lines: The blocked lines.
        campaigns: Blocked or automatically paused campaigns: at most ``MOST_CAMPAIGNS``, newest
            first.
        held: The numbers on hold.
        in_review: The recipients in review.
        parked: The parked attempts.
        overdue: The overdue tasks.
        dead: The received events that could not be applied and are not tried again.
        alerts: The unresolved alerts that are not acknowledged, by kind.
        week: The results of the last seven days.
    """

    since: datetime
    until: datetime
    zone: str
    texts: Sequence[MessageFigures]
    opt_outs: int
    lines: Sequence[StoppedSender]
    campaigns: Sequence[StoppedSender]
    held: int
    in_review: int
    parked: int
    overdue: int
    dead: int
    alerts: Sequence[OpenAlerts]
    week: WeekFigures


# Messages between two phone lines of the company are left out, because the service sends them only
# to check webhooks. An opt-out in the period is counted for the campaign to which the person
# replied.
TEXTS = text("""
    SELECT c.name,
           CAST(sum(x.sent) AS bigint) AS sent, CAST(sum(x.delivered) AS bigint) AS delivered,
           CAST(sum(x.failed) AS bigint) AS failed, CAST(sum(x.received) AS bigint) AS received,
           CAST(sum(x.answered) AS bigint) AS answered,
           CAST(sum(x.opted_out) AS bigint) AS opted_out
    FROM (
        SELECT a.campaign_id, count(*) AS sent,
               count(*) FILTER (WHERE a.status = 'delivered') AS delivered,
               count(*) FILTER (WHERE a.status = 'failed') AS failed,
               0 AS received, 0 AS answered, 0 AS opted_out
        FROM line l CROSS JOIN LATERAL (
            SELECT s.campaign_id, s.status FROM send_attempt s
            WHERE s.line_id = l.id AND s.accepted_at >= CAST(:since AS timestamptz)
              AND s.accepted_at < CAST(:until AS timestamptz) AND s.kind <> 'test'
        ) a
        GROUP BY a.campaign_id
        UNION ALL
        SELECT a.campaign_id, 0, 0, 0, count(*), count(DISTINCT a.phone), count(DISTINCT f.phone)
        FROM activity a
        LEFT JOIN contact_flag f ON f.phone = a.phone AND f.flag_type = 'opted_out'
            AND f.created_at >= CAST(:since AS timestamptz)
            AND f.created_at < CAST(:until AS timestamptz)
        WHERE a.kind = 'message' AND a.openphone_id IS NOT NULL AND a.direction = 'incoming'
          AND a.occurred_at >= CAST(:since AS timestamptz)
          AND a.occurred_at < CAST(:until AS timestamptz)
          AND NOT EXISTS (SELECT FROM line l WHERE l.number = a.phone)
        GROUP BY a.campaign_id
    ) x
    LEFT JOIN campaign c ON c.id = x.campaign_id
    GROUP BY x.campaign_id, c.name, c.created_at
    ORDER BY c.created_at, x.campaign_id
""")

OPT_OUTS = text("""
    SELECT count(*) FROM contact_flag
    WHERE flag_type = 'opted_out' AND created_at >= CAST(:since AS timestamptz)
      AND created_at < CAST(:until AS timestamptz)
""")

BLOCKED_LINES = text("""
    SELECT CAST(l.id AS text) AS id, l.name || ' (' || l.number || ')' AS name, l.status,
           l.blocked_reason AS reason
    FROM line l WHERE l.status = 'blocked' ORDER BY l.blocked_at, l.id
""")

STOPPED_CAMPAIGNS = text("""
    SELECT CAST(c.id AS text) AS id, c.name, c.status,
           coalesce(c.blocked_reason, c.paused_reason) AS reason
    FROM campaign c
    WHERE c.status = 'blocked' OR (c.status = 'paused' AND c.paused_reason IS NOT NULL)
    ORDER BY c.created_at DESC, c.id DESC LIMIT :limit
""")

WAITING_PEOPLE = text("""
    SELECT (SELECT count(*) FROM contact_flag
             WHERE flag_type = 'opt_out_hold'
               AND (expires_at IS NULL OR expires_at > CAST(:now AS timestamptz))) AS held,
           (SELECT CAST(coalesce(sum(t.people), 0) AS bigint)
              FROM campaign c JOIN campaign_tally t ON t.campaign_id = c.id
             WHERE c.status IN ('scheduled', 'running', 'paused') AND t.status = 'review')
               AS in_review,
           (SELECT count(*) FROM task WHERE done_at IS NULL AND due_at < CAST(:now AS timestamptz))
               AS overdue
""")


async def read_digest(
    uow: UnitOfWork,
    *,
    since: datetime,
    until: datetime,
    zone: str,
    figures: Figures,
) -> Digest:
    """Read what happened from ``since`` to ``until``, and what users must do now.

    Args:
        zone: The time zone in which the mail shows days.
        figures: The current state of the service in numbers, such as the number of open alerts.
    """
    session = uow.session
    span = {"since": since, "until": until}
    texts = await session.execute(TEXTS, span)
    lines = await session.execute(BLOCKED_LINES)
    campaigns = await session.execute(STOPPED_CAMPAIGNS, {"limit": MOST_CAMPAIGNS})
    people = (await session.execute(WAITING_PEOPLE, {"now": figures.at})).one()
    return Digest(
        since=since,
        until=until,
        zone=zone,
        texts=typed_rows(MessageFigures, texts),
        opt_outs=int((await session.execute(OPT_OUTS, span)).scalar_one()),
        lines=typed_rows(StoppedSender, lines),
        campaigns=typed_rows(StoppedSender, campaigns),
        held=people.held,
        in_review=people.in_review,
        parked=figures.unclear.get("parked", Unclear()).count,
        overdue=people.overdue,
        dead=figures.events["dead"],
        alerts=[one for one in figures.alerts if not one.is_acknowledged],
        week=await read_week(uow, until=until, zone=zone, now=figures.at),
    )
