"""Runs of the reconciliation: asked for, made each night and after an outage, read."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations.schedule import RECONCILED_AT_HOUR
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.reconciliation import drift as drifts
from crm_api.domain.reconciliation import queries
from crm_api.domain.reconciliation.errors import (
    EmptySpanError,
    ReconciliationRunNotFoundError,
)
from crm_api.domain.reconciliation.models import ReconciliationRun, RunStatus, Trigger
from crm_api.domain.reconciliation.schemas import ReconciliationCreate
from crm_api.jobs import Job, JobName

OVERLAP = timedelta(hours=24)
"""Each text is looked at twice, the second time when it is a day old: what became of it is final
by then, and the provider has given up to deliver a lost webhook of it."""
"""UTC."""
OUTAGE_AFTER = timedelta(minutes=5)
"""A receiver that was silent for so long may have missed something."""
BACKLOG_AFTER = timedelta(seconds=10)
"""Received events that are due for so long are a backlog."""
LONGEST_WAIT = timedelta(minutes=15)
RECEIVER = "webhooks"
RECONCILE = Job(name=JobName.RECONCILE_OPENPHONE)


async def request(uow: UnitOfWork, body: ReconciliationCreate, *, now: datetime) -> UUID:
    """Make a run because somebody asked for it; asks for ``reconcile_openphone``.

    Raises:
        EmptySpanError: Nothing lies between ``since`` and ``until``.
    """
    until = min(body.until or now, now)
    return await _make(uow, Trigger.MANUAL, since=body.since, until=until, now=now)


async def covers(uow: UnitOfWork, *, since: datetime, until: datetime) -> bool:
    """Say whether one complete run has compared all between two instants."""
    return await queries.has_complete_run(uow.session, since=since, until=until)


async def _make(
    uow: UnitOfWork, trigger: Trigger, *, since: datetime | None, until: datetime, now: datetime
) -> UUID:
    """Store a run; without ``since`` it begins where the last complete one ended."""
    covered = await queries.covered_until(uow.session)
    if since is None:
        since = None if covered is None else min(covered, until) - OVERLAP
    elif since >= until:
        raise EmptySpanError("The run would begin at or after its end.")
    run = await queries.insert_run(
        uow.session,
        values={
            "trigger": trigger.value,
            "since": since,
            "until": until,
            "continues": since is None or (covered is not None and since <= covered),
            "created_at": now,
        },
    )
    uow.after_commit(RECONCILE)
    return run.id


async def make_daily(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Make the night's run, unless one was made since; the very first takes over all there is.

    One that was missed, because no worker ran, is made late. Only the first waits for the night
    after the first line, so that nobody's first minutes are an import that nobody asked for.

    Returns:
        None when none is due.
    """
    night = now.replace(hour=RECONCILED_AT_HOUR, minute=0, second=0, microsecond=0)
    if night > now:
        night -= timedelta(days=1)
    made_at = await queries.newest_made_at(uow.session)
    since = made_at or await queries.first_line_at(uow.session)
    if since is None or since >= night:
        return None
    await queries.take_turns(uow.session)
    if await queries.newest_made_at(uow.session) != made_at:
        return None  # another worker has made it meanwhile
    is_first = await queries.covered_until(uow.session) is None
    trigger = Trigger.IMPORT if is_first else Trigger.DAILY
    return await _make(uow, trigger, since=None, until=now, now=now)


async def must_wait(uow: UnitOfWork, *, now: datetime) -> bool:
    """Say whether what was received is to be applied first: it is not missing, only waiting.

    A run that waits for a quarter of an hour goes on all the same.
    """
    row = await queries.backlog(uow.session)
    if row.made_at is None or row.due_at is None or now - row.made_at > LONGEST_WAIT:
        return False
    return bool(now - row.due_at > BACKLOG_AFTER)


async def make_after_gap(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Make a run when an alert is over that told of a gap, and none was made since.

    The provider was down; its webhooks did not come, or to another address; ours refused its
    signatures. The very first run needs no such reason, and is left to its night.

    Returns:
        None when there was no gap.
    """
    made_at = await queries.newest_made_at(uow.session)
    if made_at is None:
        return None
    began_at = await queries.ended_gap(uow.session, after=made_at, longer_than=OUTAGE_AFTER)
    return None if began_at is None else await after_outage(uow, began_at=began_at, now=now)


async def note_receiver(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Note that webhooks can be received; after an outage a run is made that fills the gap.

    A web process says so twice a minute, through the database in which it stores what it
    receives: when that is away, or the process, nothing is said.

    Returns:
        The run, when there was an outage and none waits for it yet.
    """
    seen_at = await queries.note_receiver(uow.session, name=RECEIVER, now=now)
    if seen_at is None or now - seen_at <= OUTAGE_AFTER:
        return None
    return await after_outage(uow, began_at=seen_at, now=now)


async def skip_time(uow: UnitOfWork, *, skipped: timedelta) -> None:
    """Note that the sandbox's time has skipped so much: the receiver was not away in it."""
    await queries.skip_time(uow.session, skipped=skipped)


async def after_outage(uow: UnitOfWork, *, began_at: datetime, now: datetime) -> UUID | None:
    """Make a run because webhooks did not get through since ``began_at``.

    Returns:
        None when one waits already that nobody has begun.
    """
    if await queries.has_open(uow.session, trigger=Trigger.OUTAGE):
        return None
    covered = await queries.covered_until(uow.session)
    since = min(began_at, now, covered or now) - OVERLAP
    return await _make(uow, Trigger.OUTAGE, since=since, until=now, now=now)


async def get(uow: UnitOfWork, *, run_id: UUID) -> ReconciliationRun:
    """Fetch a run.

    Raises:
        ReconciliationRunNotFoundError: No run has this id.
    """
    run = await queries.get(uow.session, run_id=run_id)
    if run is None:
        raise ReconciliationRunNotFoundError("No reconciliation run has this id.")
    return run


async def list_runs(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[ReconciliationRun]:
    """List runs, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("reconciliation_runs")
    after = cursors.read(cursor)
    rows = await queries.list_runs(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The newest run that ended, for a metric."""

    status: RunStatus
    finished_at: datetime | None
    drift: dict[str, int]


async def last_run(uow: UnitOfWork) -> LastRun | None:
    """Tell how the newest run ended and what differed, by kind; None when none has ended yet."""
    run = await queries.last_ended(uow.session)
    if run is None:
        return None
    return LastRun(
        status=RunStatus(run.status),
        finished_at=run.finished_at,
        drift=drifts.counts(run.drift),
    )


async def covered_until(uow: UnitOfWork) -> datetime | None:
    """Tell up to when complete runs cover everything; None when none has completed yet."""
    return await queries.covered_until(uow.session)
