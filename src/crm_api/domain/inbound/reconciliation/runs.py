"""Create reconciliation runs on request, every night and after an outage; list and show them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update

from crm_api.domain.inbound.reconciliation import drift as drifts
from crm_api.domain.inbound.reconciliation.models import (
    OPEN,
    ReceiverHeartbeat,
    ReconciliationRun,
    RunStatus,
    Trigger,
)
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.kit.errors import InvalidError, NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork, get_or_raise, typed_row
from crm_api.platform.jobs import Job, JobName

RECONCILED_AT_HOUR = 2
"""Hour of the daily run, in UTC."""

OVERLAP = timedelta(hours=24)
"""How far the time span of a run overlaps the time span of the run before. So each message is
compared twice, the second time when it is about a day old. By then its status is final, and the
provider no longer retries a lost webhook."""
OUTAGE_AFTER = timedelta(minutes=5)
"""If no web process stored a heartbeat for longer than this, webhooks may have been missed."""
BACKLOG_AFTER = timedelta(seconds=10)
"""If a received event has been due for longer than this, there is a backlog."""
LONGEST_WAIT = timedelta(minutes=15)
"""Maximum time that a run waits for the backlog."""
RECEIVER = "webhooks"
RECONCILE_JOB = Job(name=JobName.RECONCILE_OPENPHONE)


class ReconciliationRunNotFoundError(NotFoundError):
    """No reconciliation run has this id."""

    code = "reconciliation_run_not_found"
    title = "Reconciliation run not found"
    detail = "No reconciliation run has this id. GET /v1/reconciliation-runs lists the runs."


class EmptySpanError(InvalidError):
    """The time span of the run is empty, because ``since`` is not before ``until``."""

    code = "empty_span"
    title = "Empty time span"
    detail = "`since` is not before `until`. Give an earlier `since` or a later `until`."


NEWEST_FIRST = (ReconciliationRun.created_at.desc(), ReconciliationRun.id.desc())


async def request_run(uow: UnitOfWork, body: ReconciliationCreate, *, now: datetime) -> UUID:
    """Create a reconciliation run for the given period, and return its id.

    The job ``reconcile_openphone`` then works on the run.

    Raises:
        EmptySpanError: ``since`` is not before ``until``.
    """
    until = min(body.until or now, now)
    return await _store_run(uow, Trigger.MANUAL, since=body.since, until=until, now=now)


async def _store_run(
    uow: UnitOfWork, trigger: Trigger, *, since: datetime | None, until: datetime, now: datetime
) -> UUID:
    """Store a reconciliation run, and request the job ``reconcile_openphone``.

    If ``since`` is None, the completed runs decide the start of the time span:

    - If no run has completed, the time span has no start.
    - If the period that completed runs have compared ends before ``until``, the span begins
      ``OVERLAP`` before the end of this period.
    - If not, the span begins ``OVERLAP`` before ``until``.

    Raises:
        EmptySpanError: ``since`` is not before ``until``.
    """
    covered = await covered_until(uow)
    if since is None:
        since = None if covered is None else min(covered, until) - OVERLAP
    elif since >= until:
        raise EmptySpanError
    run = ReconciliationRun(
        trigger=trigger.value,
        since=since,
        until=until,
        continues=since is None or (covered is not None and since <= covered),
        created_at=now,
    )
    uow.session.add(run)
    await uow.session.flush()
    uow.after_commit(RECONCILE_JOB)
    return run.id


LOCK_DAILY_RUN = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('make_reconciliation_run', 0))"
)


async def make_daily_run(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Create the daily reconciliation run, unless a run was created since the last 02:00 UTC.

    The first run is due at the first 02:00 after a phone line was added. Until a run has completed,
    each daily run imports all messages and calls.

    Returns:
        The id of the run; None if no run is due.
    """
    night = now.replace(hour=RECONCILED_AT_HOUR, minute=0, second=0, microsecond=0)
    if night > now:
        night -= timedelta(days=1)
    made_at = await newest_made_at(uow)
    since = made_at or await oldest_line_at(uow)
    if since is None or since >= night:
        return None
    await uow.session.execute(LOCK_DAILY_RUN)
    if await newest_made_at(uow) != made_at:
        return None  # another worker has just created the run
    is_first = await covered_until(uow) is None
    trigger = Trigger.IMPORT if is_first else Trigger.DAILY
    return await _store_run(uow, trigger, since=None, until=now, now=now)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Two times that decide whether a reconciliation run must wait for received events.

    Attributes:
        made_at: When the oldest unfinished run was created; None if every run has ended.
        due_at: When the next waiting event is due to be applied; None if no event waits. This time
            is in the past if the event is late.
    """

    made_at: datetime | None
    due_at: datetime | None


READ_BACKLOG = text("""
    SELECT (SELECT created_at FROM reconciliation_run WHERE status IN ('pending', 'running')
             ORDER BY created_at, id LIMIT 1) AS made_at,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS due_at
""")


async def must_wait_for_events(uow: UnitOfWork, *, now: datetime) -> bool:
    """Return whether the next reconciliation run must wait until received events are applied.

    The run waits if an event has been due for longer than ``BACKLOG_AFTER``. Without this wait, the
    run would treat the event as missing. The run waits for at most ``LONGEST_WAIT``.
    """
    backlog = typed_row(Backlog, (await uow.session.execute(READ_BACKLOG)).one())
    if backlog.made_at is None or backlog.due_at is None:
        return False
    return now - backlog.made_at <= LONGEST_WAIT and now - backlog.due_at > BACKLOG_AFTER


# Selects when the earliest relevant alert began. An alert is relevant if it ended after :after,
# lasted longer than :seconds, and means that webhooks may have been missed.
ENDED_GAP = text("""
    SELECT min(opened_at) FROM alert
    WHERE kind IN ('provider_down', 'webhook_health', 'webhook_refused')
      AND (kind <> 'webhook_refused' OR subject IN ('signature_mismatch', 'signature_stale'))
      AND resolved_at > CAST(:after AS timestamptz)
      AND resolved_at - opened_at > make_interval(secs => :seconds)
""")


async def make_run_after_gap(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Create a reconciliation run if webhooks may have been missed during an alert.

    An alert (provider down, webhooks missing, signatures refused) counts if it was resolved after
    the newest run was created, and lasted longer than ``OUTAGE_AFTER``. This function never creates
    the first run; ``make_daily_run`` does.

    Returns:
        The id of the run; None if no run was created.
    """
    made_at = await newest_made_at(uow)
    if made_at is None:
        return None
    values = {"after": made_at, "seconds": OUTAGE_AFTER.total_seconds()}
    began_at: datetime | None = await uow.session.scalar(ENDED_GAP, values)
    return (
        None if began_at is None else await make_run_after_outage(uow, began_at=began_at, now=now)
    )


# The row of the heartbeat is locked before the old value is read. If several processes restart at
# the same time, only one of them sees the outage.
STORE_HEARTBEAT = text("""
    WITH before AS (
        SELECT seen_at FROM receiver_heartbeat WHERE name = :name FOR NO KEY UPDATE
    ), noted AS (
        INSERT INTO receiver_heartbeat AS h (name, seen_at) VALUES (:name, :now)
        ON CONFLICT (name) DO UPDATE SET seen_at = greatest(h.seen_at, excluded.seen_at)
    )
    SELECT seen_at FROM before
""")


async def store_receiver_heartbeat(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Store a heartbeat of the webhook receiver. After an outage, create a reconciliation run.

    A web process calls this function twice a minute. There was an outage if the previous heartbeat
    is older than ``OUTAGE_AFTER``.

    Returns:
        The id of the new run; None if there was no outage, or if a run for an earlier outage has
        not begun yet.
    """
    values = {"name": RECEIVER, "now": now}
    seen_at: datetime | None = await uow.session.scalar(STORE_HEARTBEAT, values)
    if seen_at is None or now - seen_at <= OUTAGE_AFTER:
        return None
    return await make_run_after_outage(uow, began_at=seen_at, now=now)


async def skip_heartbeat_time(uow: UnitOfWork, *, skipped: timedelta) -> None:
    """Move the heartbeats of webhook receivers forward by the time that the sandbox clock skipped.

    A heartbeat is the time at which a web process last reported that it can receive webhooks.
    Without this change, the skipped time would count as an outage of the webhook receiver.
    """
    await uow.session.execute(
        update(ReceiverHeartbeat).values(seen_at=ReceiverHeartbeat.seen_at + skipped)
    )


async def make_run_after_outage(
    uow: UnitOfWork, *, began_at: datetime, now: datetime
) -> UUID | None:
    """Create a reconciliation run after a time in which this service received no webhooks.

    If a run for an earlier outage has not begun yet, its time span is extended instead.

    Args:
        began_at: When the outage began.

    Returns:
        The id of the run; None if an earlier run was extended.
    """
    covered = await covered_until(uow)
    since = min(began_at, now, covered or now) - OVERLAP
    waiting = (
        update(ReconciliationRun)
        .where(
            ReconciliationRun.status.in_(OPEN),
            ReconciliationRun.trigger == Trigger.OUTAGE.value,
            ReconciliationRun.started_at.is_(None),
        )
        .values(
            since=func.least(ReconciliationRun.since, since),
            until=func.greatest(ReconciliationRun.until, now),
        )
        .returning(ReconciliationRun.id)
        .execution_options(synchronize_session=False)
    )
    if await uow.session.scalar(waiting) is not None:
        return None
    return await _store_run(uow, Trigger.OUTAGE, since=since, until=now, now=now)


async def get_run(uow: UnitOfWork, *, run_id: UUID) -> ReconciliationRun:
    """Return one reconciliation run.

    Raises:
        ReconciliationRunNotFoundError: No run has this id.
    """
    return await get_or_raise(
        uow.session, ReconciliationRun, run_id, ReconciliationRunNotFoundError
    )


async def list_runs(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[ReconciliationRun]:
    """Return one page of the reconciliation runs, newest first.

    Raises:
        InvalidCursorError: The cursor is not from this list.
    """
    return await read_newest(
        uow.session,
        select(ReconciliationRun),
        ReconciliationRun.created_at,
        ReconciliationRun.id,
        cursors=Cursors("reconciliation_runs"),
        cursor=cursor,
        limit=limit,
    )


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """The result of the last reconciliation run that has ended, for metrics.

    The field ``drift`` contains the number of differences between the provider's data and ours, by
    kind of difference.
    """

    status: RunStatus
    finished_at: datetime | None
    drift: dict[str, int]


async def find_last_run(uow: UnitOfWork) -> EndedRun | None:
    """Return the result of the newest ended reconciliation run; None if no run has ended."""
    query = select(ReconciliationRun).where(ReconciliationRun.status.not_in(OPEN))
    run = (await uow.session.scalars(query.order_by(*NEWEST_FIRST).limit(1))).one_or_none()
    if run is None:
        return None
    return EndedRun(
        status=RunStatus(run.status),
        finished_at=run.finished_at,
        drift=drifts.count_by_kind(run.drift),
    )


async def covered_until(uow: UnitOfWork) -> datetime | None:
    """Return the time until which completed runs have compared our data with the provider's data.

    There is no gap before this time. Return None if no run has completed.
    """
    query = select(func.max(ReconciliationRun.until)).where(
        ReconciliationRun.status == text("'completed'"), ReconciliationRun.continues
    )
    found: datetime | None = await uow.session.scalar(query)
    return found


async def newest_made_at(uow: UnitOfWork) -> datetime | None:
    """Return when the newest reconciliation run was created; None if there is no run."""
    query = select(ReconciliationRun.created_at).order_by(*NEWEST_FIRST).limit(1)
    found: datetime | None = await uow.session.scalar(query)
    return found


async def oldest_line_at(uow: UnitOfWork) -> datetime | None:
    """Return when the oldest phone line was added; None if there is no phone line."""
    query = select(Line.created_at).order_by(Line.created_at, Line.id).limit(1)
    found: datetime | None = await uow.session.scalar(query)
    return found
