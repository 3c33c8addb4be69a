"""Move the sandbox clock forward in steps.

One worker makes the steps, and every process follows the clock. ``platform/database_time.py`` says
where the time is stored and who reads it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from sqlalchemy import BigInteger, Integer, Interval, select, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.inbound.reconciliation import runs as reconciliation
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.monitoring.sandbox_control.errors import (
    ClockGoesForwardError,
    ClockMovesError,
    ClockTooFarError,
)
from crm_api.domain.monitoring.sandbox_control.schemas import ClockMove, write_duration
from crm_api.domain.monitoring.scheduled_jobs import heartbeats
from crm_api.platform.clock_follower import FOLLOWER
from crm_api.platform.database import Base, UnitOfWork, open_uow, typed_row
from crm_api.platform.database_time import date_events, notify_clock_change
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.postgres import DATABASE_UNREACHABLE
from crm_api.platform.settings import Settings, SettingsError


class SandboxClock(Base):
    """The sandbox clock, with its current or last move.

    The table has no row until the clock is moved for the first time. A move goes from ``from_at``
    to ``to_at``; both are times of the sandbox clock. The job run ``holder`` has reserved the move
    until ``held_until``, which is a time of the database's clock.
    """

    __tablename__ = "sandbox_clock"

    name: Mapped[str] = mapped_column(primary_key=True)
    ahead: Mapped[timedelta] = mapped_column(Interval())
    version: Mapped[int] = mapped_column(BigInteger)
    """A number that grows with each change of the clock. Each process shows, by the name of its
    database connection, which version of the clock it uses."""
    is_moving: Mapped[bool] = mapped_column(server_default=text("false"))
    from_at: Mapped[datetime | None]
    to_at: Mapped[datetime | None]
    stops: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of steps that the move of the clock has made so far."""
    failure: Mapped[str | None]
    """Why the move of the clock is delayed; None if it is not delayed. A delayed move continues
    automatically."""
    holder: Mapped[UUID | None]
    """The id of the job run that makes the move of the clock; None if no job run makes it now."""
    held_until: Mapped[datetime | None]


log = structlog.get_logger()

LEASE = timedelta(seconds=30)
"""For how long after each step a worker has reserved the move of the clock, in real time. If the
worker dies, another worker continues the move when this time is over."""
FARTHEST = timedelta(days=366)
"""The longest time by which one request can move the sandbox clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenMove:
    """A move of the sandbox clock that this worker has reserved.

    Attributes:
        holder: The id of this run of the job that moves the clock.
        from_at: The sandbox time before the move.
        to_at: The sandbox time after the move.
        version: The version of the clock when this worker reserved the move. The run waits until
            every process knows this version. Then it begins to work.
    """

    holder: UUID
    from_at: datetime
    to_at: datetime
    version: int


async def read_sandbox_clock(uow: UnitOfWork) -> SandboxClock | None:
    """Return the stored sandbox clock; None if the clock was never moved."""
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
    """Store a requested move of the clock, and request the job that makes the move.

    Raises:
        ClockMovesError: The clock is already moving.
        ClockGoesForwardError: The new time is not later than ``now``.
        ClockTooFarError: The new time is more than ``FARTHEST`` after ``now``.
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
    """Reserve the current move of the sandbox clock for this worker, and return the move.

    A move sets the clock forward in steps. The worker that has reserved the move makes the steps.
    The result is None if the clock is not moving, or if another worker has reserved the move.
    """
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
    """Move the sandbox clock forward by one step.

    The stored times of heartbeats move forward by ``skipped``, so that no process looks silent.

    Args:
        ahead: How far the sandbox clock is ahead of the machine's clock after the step.
        skipped: How much time this step skips.

    Returns:
        The new version of the clock; None if another worker has taken over the move. Before work
        begins at the new time, wait until every process uses this version.
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
    """Release a move of the sandbox clock, so that any worker can continue the move.

    Args:
        failure: The error that stopped the move; None if there was no error.
    """
    await uow.session.execute(_RELEASE, {"holder": move.holder, "failure": failure})


_END = text("""
    UPDATE sandbox_clock
    SET is_moving = false, version = version + 1, holder = NULL, held_until = NULL
    WHERE holder = :holder
""")


async def end_clock_move(uow: UnitOfWork, move: TakenMove) -> None:
    """Store that a move of the sandbox clock has ended. Every process works as usual again."""
    await uow.session.execute(_END, {"holder": move.holder})
    await notify_clock_change(uow.session)


_IS_FOLLOWED = text(f"""
    SELECT NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE '{FOLLOWER} %'
          AND application_name <> :known)
""")


async def is_clock_followed(uow: UnitOfWork, *, version: int) -> bool:
    """Return whether all processes that are connected to the database know this clock version.

    The version grows with each change of the sandbox clock.
    """
    return bool(await uow.session.scalar(_IS_FOLLOWED, {"known": f"{FOLLOWER} {version}"}))


# Some jobs have work that was planned for later, such as retries. The statement finds, for each of
# these jobs, when its first planned work is due.
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
    """Return the time at which the next planned work of each job is due, by the name of the job.

    Planned work is, for example, a retry or a queued message. Jobs without planned work are left
    out. The work of campaigns is not included.
    """
    row = (await uow.session.execute(_NEXT_WAITING)).mappings().one()
    return {JobName(name): instant for name, instant in row.items() if instant is not None}


async def refuse_moved_time(settings: Settings) -> None:
    """Refuse to start with a real API key if the sandbox clock was moved in this database.

    Messages and opt-outs from a simulated future must not mix with real ones. If the database is
    unavailable, the check is skipped and a warning is logged.

    Raises:
        SettingsError: There is a real API key, and the clock was moved in this database.
    """
    if settings.uses_sandbox:
        return
    try:
        async with open_uow(settings.require_database_url(), NO_QUEUE) as uow:
            found = await read_sandbox_clock(uow)
    except DATABASE_UNREACHABLE as error:
        log.warning(
            "database unreachable; could not check whether the sandbox clock was moved",
            error=type(error).__name__,
        )
        return
    if found is not None and found.ahead:
        raise SettingsError(
            "CRM_OPENPHONE_API_KEY is set, but this database was used with a sandbox whose clock "
            f"was moved by {write_duration(found.ahead)}, so it can be used only with the "
            "sandbox. Use another database, or another CRM_DATA_DIR"
        )
