"""Read the numbers that describe the state of the whole service, for metrics and the digest.

The numbers come from the database, so they are the same in every process. Only ``skew``, the
difference between the clocks of this process and the database, depends on the process.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.inbound.reconciliation import runs as reconciliation
from crm_api.domain.inbound.reconciliation.runs import EndedRun
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.models.lines import LineStatus
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.scheduled_jobs import schedule
from crm_api.domain.monitoring.scheduled_jobs.schemas import ScheduledJobRead
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

STATEMENT_SECONDS = 2.0
"""The time limit of each SQL statement that reads metrics. It limits the load on the database."""
MOST_COUNTED = 100_000
"""The largest number of waiting rows that are counted. If more rows wait, the metric shows this
number."""
MOST_LINES = 200


@dataclass(frozen=True, kw_only=True)
class OpenAlerts:
    """The number of unresolved alerts of one kind and state.

    Attributes:
        is_acknowledged: True if these alerts are acknowledged, False if they are not.
    """

    kind: str
    is_acknowledged: bool
    count: int


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """How many attempts with one status have an unclear result.

    It is not known whether their messages were sent.

    Attributes:
        since: When the earliest of these attempts passed the gate; None if there are none.
    """

    count: int = 0
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LineToday:
    """How many messages a phone line has sent today, and how many it may still send today.

    Attributes:
        is_blocked: True if the provider refuses the line.
        sent: The messages that the line has sent today, in the time zone of the line.
        left: The campaign messages that the line may still send today.
    """

    id: UUID
    name: str
    is_blocked: bool
    sent: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The state of the whole service in numbers, at the time ``at``.

    A field whose name ends in ``due_at`` is None if nothing waits. A due time may be in the future.

    Attributes:
        skew: How far this process's clock is ahead of the database's clock.
        last_run: The last reconciliation that ended; None if none has ended.
        covered_until: Reconciliations have compared all messages and calls before this time with
            those of the provider; None if no reconciliation has completed.
        events: The received events that are not applied, by status: ``pending``, ``failed`` or
            ``dead``; at most ``MOST_COUNTED`` each.
        event_due_at: The earliest due time of a pending or failed event.
        campaign_due_at: The earliest due time of a recipient of a running campaign.
        single: The queued messages outside campaigns, at most ``MOST_COUNTED``.
        single_due_at: The earliest due time of a queued message outside campaigns.
        unclear: The attempts with an unclear result, by the status of the attempt.
        people: The recipients in campaigns that have not ended, by status.
        lines: The most recently added lines, at most ``MOST_LINES``.
        alerts: The unresolved alerts, by kind.
        circuits: For each outside system, True if the system is considered down (its circuit
            breaker is open).
        endpoints: The number of webhook endpoints of clients, by state.
        delivery_due_at: The earliest due time of a delivery to an active endpoint.
        jobs: Every scheduled job with its last run.
        workers: The number of workers with a recent heartbeat.
        worker_seen_at: The newest heartbeat of a worker. Workers that were stopped do not count.
    """

    at: datetime
    skew: timedelta
    last_run: EndedRun | None
    covered_until: datetime | None
    events: dict[str, int]
    event_due_at: datetime | None
    campaign_due_at: datetime | None
    single: int
    single_due_at: datetime | None
    unclear: dict[str, Unclear] = field(default_factory=dict)
    people: dict[str, int] = field(default_factory=dict)
    lines: list[LineToday] = field(default_factory=list)
    alerts: list[OpenAlerts]
    circuits: dict[str, bool]
    endpoints: dict[str, int]
    delivery_due_at: datetime | None
    jobs: list[ScheduledJobRead]
    workers: int
    worker_seen_at: datetime | None


# The statement sets a time limit for each later statement of the transaction.
TIME_BOX = text("""
    SELECT clock_timestamp() AS database_now, set_config('statement_timeout', :milliseconds, true)
""")

# Usually few rows wait. During an outage, very many rows may wait, so the statement counts at most
# :most rows.
WAITING = text("""
    SELECT (SELECT count(*) FROM (
                SELECT FROM webhook_event WHERE status = 'pending' LIMIT :most) e) AS pending,
           (SELECT count(*) FROM (
                SELECT FROM webhook_event WHERE status = 'failed' LIMIT :most) e) AS failed,
           (SELECT count(*) FROM (
                SELECT FROM webhook_event WHERE status = 'dead' LIMIT :most) e) AS dead,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS event_due_at,
           (SELECT count(*) FROM (
                SELECT FROM activity WHERE status = 'queued' AND send_after IS NOT NULL
                LIMIT :most) a) AS single,
           (SELECT min(send_after) FROM activity WHERE status = 'queued') AS single_due_at
""")

# The statement is fast: it makes one look-up in the index idx_campaign_membership_status for each
# running campaign and zone key (the states and time zones in which a person may live).
CAMPAIGN_DUE_AT = text("""
    SELECT min(due.due_at)
    FROM campaign c
    CROSS JOIN LATERAL unnest(c.zone_keys) AS zone (key)
    CROSS JOIN LATERAL (
        SELECT m.due_at FROM campaign_membership m
        WHERE m.campaign_id = c.id AND m.zone_key = zone.key AND m.status = 'pending'
        ORDER BY m.due_at LIMIT 1
    ) due
    WHERE c.status = 'running'
""")

# The statement is fast, because campaign_tally has only a few dozen rows for each campaign.
PEOPLE = text("""
    SELECT t.status, CAST(sum(t.people) AS bigint) AS people
    FROM campaign c JOIN campaign_tally t ON t.campaign_id = c.id
    WHERE c.status IN ('scheduled', 'running', 'paused', 'blocked')
    GROUP BY t.status
""")

UNCLEAR = text("""
    SELECT a.status, count(*) AS texts, min(a.called_at) AS called_at
    FROM send_attempt a
    WHERE a.is_open AND a.status = 'unknown' OR a.is_uncertain AND a.status = 'parked'
    GROUP BY a.status
""")

# The statement is fast: it makes one look-up in the index idx_webhook_delivery_due for each
# endpoint.
ENDPOINTS = text("""
    SELECT count(*) FILTER (WHERE e.status = 'active' AND e.failing_since IS NULL) AS well,
           count(*) FILTER (WHERE e.status = 'active' AND e.failing_since IS NOT NULL) AS failing,
           count(*) FILTER (WHERE e.status = 'disabled') AS disabled,
           min(first.due_at) AS due_at
    FROM webhook_endpoint e
    LEFT JOIN LATERAL (
        SELECT d.next_attempt_at AS due_at FROM webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.status = 'pending' AND e.status = 'active'
        ORDER BY d.next_attempt_at LIMIT 1
    ) first ON true
    WHERE e.deleted_at IS NULL
""")

ALERTS = text("""
    SELECT kind, acknowledged_at IS NOT NULL AS is_acknowledged, count(*) AS alerts
    FROM alert WHERE resolved_at IS NULL
    GROUP BY 1, 2 ORDER BY 1, 2
""")

CIRCUITS = text("SELECT name, opened_at IS NOT NULL AS is_open FROM circuit ORDER BY name")

WORKERS = text("""
    SELECT count(*) FILTER (
               WHERE seen_at > CAST(:now AS timestamptz) - make_interval(secs => :late_after))
               AS alive,
           max(seen_at) AS seen_at
    FROM worker_heartbeat WHERE stopped_at IS NULL
""")


async def read(uow: UnitOfWork, *, times: SendTimes, now: datetime) -> Figures:
    """Read the state of the service; fail if an SQL query takes over ``STATEMENT_SECONDS``."""
    session = uow.session
    box = await session.execute(TIME_BOX, {"milliseconds": str(int(STATEMENT_SECONDS * 1000))})
    # Both times are real times, without the sandbox's moved time. So the difference shows whether a
    # clock is wrong.
    skew = clock.wall_now() - box.one().database_now
    waiting = (await session.execute(WAITING, {"most": MOST_COUNTED})).one()
    unclear = await session.execute(UNCLEAR)
    people = await session.execute(PEOPLE)
    newest_lines = await lines.list_lines(uow, cursor=None, limit=MOST_LINES, times=times, now=now)
    alerts = await session.execute(ALERTS)
    circuits = await session.execute(CIRCUITS)
    endpoints = (await session.execute(ENDPOINTS)).one()
    late_after = schedule.LATE_AFTER.total_seconds()
    workers = (await session.execute(WORKERS, {"now": now, "late_after": late_after})).one()
    return Figures(
        at=now,
        skew=skew,
        last_run=await reconciliation.find_last_run(uow),
        covered_until=await reconciliation.covered_until(uow),
        events={"pending": waiting.pending, "failed": waiting.failed, "dead": waiting.dead},
        event_due_at=waiting.event_due_at,
        campaign_due_at=await session.scalar(CAMPAIGN_DUE_AT),
        single=waiting.single,
        single_due_at=waiting.single_due_at,
        unclear={row.status: Unclear(count=row.texts, since=row.called_at) for row in unclear},
        people={row.status: row.people for row in people if row.people},
        lines=[
            LineToday(
                id=one.line.id,
                name=one.line.name,
                is_blocked=one.line.status == LineStatus.BLOCKED,
                sent=one.sent_today,
                left=max(0, one.limit_today - one.sent_today),
            )
            for one in newest_lines.data
        ],
        alerts=[
            OpenAlerts(kind=row.kind, is_acknowledged=row.is_acknowledged, count=row.alerts)
            for row in alerts
        ],
        circuits={row.name: row.is_open for row in circuits},
        endpoints={
            "well": endpoints.well,
            "failing": endpoints.failing,
            "disabled": endpoints.disabled,
        },
        delivery_due_at=endpoints.due_at,
        jobs=await schedule.list_jobs(uow, now=now),
        workers=workers.alive,
        worker_seen_at=workers.seen_at,
    )
