"""The figures of the running system, read from the database: right with any number of processes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.models import LineStatus
from crm_api.domain.operations import metrics_statements as sql
from crm_api.domain.operations import schedule
from crm_api.domain.operations.schemas import ScheduledJobRead
from crm_api.domain.reconciliation import service as reconciliation
from crm_api.domain.reconciliation.service import LastRun
from crm_api.domain.sends.times import SendTimes

STATEMENT_SECONDS = 2.0
MOST_COUNTED = 100_000
MOST_LINES = 200


@dataclass(frozen=True, kw_only=True)
class OpenAlerts:
    """How many alerts of a kind stand."""

    kind: str
    is_acknowledged: bool
    count: int


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """How many sends have no clear end, and when the first of them was called."""

    count: int = 0
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LineToday:
    """How much a line has sent today, in its own time zone, and may still send."""

    id: UUID
    name: str
    is_blocked: bool
    sent: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything that is told about the running system at one instant.

    Attributes:
        skew: How far this process' clock is ahead of the database's.
        events: Received events by status.
        event_due_at: When the event that waits longest was due; it may be still to come.
        campaign_due_at: The same of the recipients of campaigns that run.
        single: Texts outside of campaigns that wait.
        single_due_at: When the one that waits longest was due.
        people: Of campaigns that are not over, first texts and follow-ups, by status.
        lines: The newest lines.
        circuits: By outside system, whether it is held to be down.
        endpoints: Of webhooks out, by how they are.
        delivery_due_at: When the message to one of them that waits longest was due.
        workers: How many have shown a sign of life lately.
    """

    at: datetime
    skew: timedelta
    last_run: LastRun | None
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


async def read(uow: UnitOfWork, *, times: SendTimes, now: datetime) -> Figures:
    """Read all figures; a statement that takes more than two seconds is given up."""
    session = uow.session
    box = await session.execute(sql.TIME_BOX, {"milliseconds": str(int(STATEMENT_SECONDS * 1000))})
    # Machines are compared by their own clocks, wherever the sandbox's time was moved to.
    skew = clock.wall_now() - box.one().database_now
    waiting = (await session.execute(sql.WAITING, {"most": MOST_COUNTED})).one()
    unclear = await session.execute(sql.UNCLEAR)
    people = await session.execute(sql.PEOPLE)
    newest_lines = await lines.list_lines(uow, cursor=None, limit=MOST_LINES, times=times, now=now)
    alerts = await session.execute(sql.ALERTS)
    circuits = await session.execute(sql.CIRCUITS)
    endpoints = (await session.execute(sql.ENDPOINTS)).one()
    late_after = schedule.LATE_AFTER.total_seconds()
    workers = (await session.execute(sql.WORKERS, {"now": now, "late_after": late_after})).one()
    return Figures(
        at=now,
        skew=skew,
        last_run=await reconciliation.last_run(uow),
        covered_until=await reconciliation.covered_until(uow),
        events={"pending": waiting.pending, "failed": waiting.failed, "dead": waiting.dead},
        event_due_at=waiting.event_due_at,
        campaign_due_at=await session.scalar(sql.CAMPAIGN_DUE_AT),
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
