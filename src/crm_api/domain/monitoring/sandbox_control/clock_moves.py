"""Move the sandbox's time in steps, taken by one worker and followed by every process.

``platform/database_time.py`` says where the time is stored and who reads it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from sqlalchemy import select, text

from crm_api.domain.inbound.reconciliation import runs as reconciliation
from crm_api.domain.inbound.webhook_setup.signing import NO_QUEUE
from crm_api.domain.monitoring.sandbox_control.errors import (
    ClockGoesForwardError,
    ClockMovesError,
    ClockTooFarError,
)
from crm_api.domain.monitoring.sandbox_control.models import SandboxClock
from crm_api.domain.monitoring.sandbox_control.schemas import ClockMove, write_duration
from crm_api.domain.monitoring.scheduled_jobs import heartbeats
from crm_api.platform.clock_follower import FOLLOWER
from crm_api.platform.database import UnitOfWork, open_engine, session_factory, typed_row
from crm_api.platform.database_time import date_events, notify_clock_change
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.postgres import DATABASE_UNREACHABLE
from crm_api.platform.settings import Settings, SettingsError

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
"""By the machine's clock: after it, another worker continues the move of one that died."""
FARTHEST = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenMove:
    """A move that one run of a worker has taken.

    Attributes:
        version: The version of the clock that every process must know before the first step.
    """

    holder: UUID
    from_at: datetime
    to_at: datetime
    version: int


async def read_sandbox_clock(uow: UnitOfWork) -> SandboxClock | None:
    """Return the clock; None when time was never moved."""
    query = select(SandboxClock).execution_options(populate_existing=True)
    return (await uow.session.scalars(query)).one_or_none()


_BEGIN = text("""
    INSERT INTO sandbox_clock AS c (name, ahead, version, is_moving, from_at, to_at, stops)
    VALUES ('sandbox', interval '0', 1, true, :now, :to, 0)
    ON CONFLICT (name) DO UPDATE
    SET version = c.version + 1, is_moving = true, from_at = excluded.from_at,
        to_at = excluded.to_at, stops = 0, failure = NULL, holder = NULL, held_until = NULL
    WHERE NOT c.is_moving
    RETURNING c.name
""")


async def begin_clock_move(uow: UnitOfWork, body: ClockMove, *, now: datetime) -> None:
    """Store a move of time, and nudge the worker that does it.

    Raises:
        ClockMovesError: A move is under way.
        ClockGoesForwardError: The instant is not after now.
        ClockTooFarError: The instant is more than ``FARTHEST`` away.
    """
    to = body.to if body.to is not None else now + (body.advance or timedelta(0))
    if to <= now:
        raise ClockGoesForwardError(now)
    if to - now > FARTHEST:
        raise ClockTooFarError
    if (await uow.session.execute(_BEGIN, {"now": now, "to": to})).first() is None:
        moving = await read_sandbox_clock(uow)
        raise ClockMovesError(moving.to_at if moving and moving.to_at else to)
    await date_events(uow.session)
    await notify_clock_change(uow.session)
    uow.after_commit(Job(name=JobName.MOVE_SANDBOX_TIME))


_TAKE = text("""
    UPDATE sandbox_clock
    SET holder = :holder, held_until = clock_timestamp() + CAST(:lease AS interval)
    WHERE is_moving AND (holder IS NULL OR held_until < clock_timestamp())
    RETURNING holder, from_at, to_at, version
""")


async def take_clock_move(uow: UnitOfWork) -> TakenMove | None:
    """Take a move that no worker has; None when there is none."""
    found = await uow.session.execute(_TAKE, {"holder": uuid4(), "lease": LEASE})
    return typed_row(TakenMove, found.first())


_STEP = text("""
    UPDATE sandbox_clock
    SET ahead = greatest(ahead, CAST(:ahead AS interval)), version = version + 1,
        stops = stops + 1, failure = NULL, held_until = clock_timestamp() + CAST(:lease AS interval)
    WHERE is_moving AND holder = :holder
    RETURNING version
""")


async def step_clock(
    uow: UnitOfWork, move: TakenMove, *, ahead: timedelta, skipped: timedelta
) -> int | None:
    """Set the clock, and move heartbeats by the skipped time so that no process seems silent.

    Returns:
        The version that every process must know before work starts at the new time; None when
        another worker has the move.
    """
    values = {"holder": move.holder, "ahead": ahead, "lease": LEASE}
    version: int | None = await uow.session.scalar(_STEP, values)
    if version is not None:
        await heartbeats.skip_heartbeat_time(uow, skipped=skipped)
        await reconciliation.skip_heartbeat_time(uow, skipped=skipped)
        await notify_clock_change(uow.session)
    return version


_RELEASE = text("""
    UPDATE sandbox_clock SET holder = NULL, held_until = NULL, failure = :failure
    WHERE holder = :holder
""")


async def release_clock_move(uow: UnitOfWork, move: TakenMove, *, failure: str | None) -> None:
    """Release the move for this or another worker, with the reason why it stopped."""
    await uow.session.execute(_RELEASE, {"holder": move.holder, "failure": failure})


_END = text("""
    UPDATE sandbox_clock
    SET is_moving = false, version = version + 1, holder = NULL, held_until = NULL
    WHERE holder = :holder
""")


async def end_clock_move(uow: UnitOfWork, move: TakenMove) -> None:
    """Store that the move has ended; every process resumes its work."""
    await uow.session.execute(_END, {"holder": move.holder})
    await notify_clock_change(uow.session)


_IS_FOLLOWED = text(f"""
    SELECT NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE '{FOLLOWER} %'
          AND application_name <> :known)
""")


async def is_clock_followed(uow: UnitOfWork, *, version: int) -> bool:
    """Return whether every process that follows the clock knows this version."""
    return bool(await uow.session.scalar(_IS_FOLLOWED, {"known": f"{FOLLOWER} {version}"}))


# One column per job that may wait for a time: retries, queued messages, postponed work.
_NEXT_WAITING = text("""
    SELECT
        (SELECT min(next_attempt_at) FROM webhook_event WHERE status IN ('pending', 'failed'))
            AS process_webhook_backlog,
        (SELECT min(send_after) FROM activity WHERE status = 'queued') AS send_messages,
        (SELECT min(next_attempt_at) FROM media_fetch WHERE status IN ('pending', 'failed'))
            AS fetch_media,
        (SELECT min(next_attempt_at) FROM outgoing_mail) AS send_mail,
        (SELECT min(d.next_attempt_at) FROM webhook_endpoint e CROSS JOIN LATERAL (
            SELECT next_attempt_at FROM webhook_delivery
            WHERE endpoint_id = e.id AND status = 'pending'
            ORDER BY next_attempt_at LIMIT 1) d
         WHERE e.status = 'active') AS deliver_webhooks,
        (SELECT min(lease_until) FROM contact_import WHERE status IN ('pending', 'running'))
            AS run_imports,
        (SELECT min(lease_until) FROM reconciliation_run WHERE status IN ('pending', 'running'))
            AS reconcile_openphone
""")


async def list_waiting_jobs(uow: UnitOfWork) -> dict[JobName, datetime]:
    """Return, by job, when its first waiting work is due; campaigns are left out."""
    row = (await uow.session.execute(_NEXT_WAITING)).mappings().one()
    return {JobName(name): instant for name, instant in row.items() if instant is not None}


async def refuse_moved_time(settings: Settings) -> None:
    """Refuse to start with a real API key when the sandbox's time was moved in this database.

    Messages and opt-outs from a simulated future would count against real ones. The database is
    read only with a real API key; an unavailable or empty database was never moved.

    Raises:
        SettingsError: There is a real API key, and time was moved.
    """
    if settings.uses_sandbox:
        return
    try:
        async with (
            open_engine(settings.require_database_url(), pool_size=1) as engine,
            UnitOfWork(session_factory(engine), NO_QUEUE) as uow,
        ):
            found = await read_sandbox_clock(uow)
    except DATABASE_UNREACHABLE as error:
        log.warning("moved time not checked", error=type(error).__name__)
        return
    if found is not None and found.ahead:
        raise SettingsError(
            "CRM_OPENPHONE_API_KEY is set, but time was moved in this database, by "
            f"{write_duration(found.ahead)}: it belongs to the sandbox. Use another database, or "
            "another CRM_DATA_DIR"
        )
