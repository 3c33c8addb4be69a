"""Moves the sandbox's time, in steps that one worker takes and every process follows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import heartbeats
from crm_api.domain.playground import queries
from crm_api.domain.playground.errors import (
    ClockGoesForwardError,
    ClockMovesError,
    ClockTooFarError,
)
from crm_api.domain.playground.models import SandboxClock
from crm_api.domain.playground.schemas import ClockMove
from crm_api.domain.reconciliation import service as reconciliation
from crm_api.jobs import Job, JobName

LEASE = timedelta(seconds=30)
"""By the machine's clock: a worker that died while it moved time is followed by another one."""
FARTHEST = timedelta(days=366)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A move that this process has taken."""

    holder: UUID
    from_at: datetime
    to_at: datetime
    version: int


async def get(uow: UnitOfWork) -> SandboxClock | None:
    """Return the clock; None when time was never moved."""
    return await queries.get(uow.session)


async def begin_move(uow: UnitOfWork, body: ClockMove, *, now: datetime) -> None:
    """Order that time moves, and nudge the worker that does it.

    Raises:
        ClockMovesError: It moves already.
        ClockGoesForwardError: The instant is not after now.
        ClockTooFarError: It is more than a year away.
    """
    to = body.to if body.to is not None else now + (body.advance or timedelta(0))
    if to <= now:
        raise ClockGoesForwardError(now)
    if to - now > FARTHEST:
        raise ClockTooFarError
    if not await queries.begin(uow.session, now=now, to=to):
        moving = await queries.get(uow.session)
        raise ClockMovesError(moving.to_at if moving and moving.to_at else to)
    await queries.date_events(uow.session)
    await queries.tell(uow.session)
    uow.after_commit(Job(name=JobName.MOVE_SANDBOX_TIME))


async def start_at(uow: UnitOfWork, start: datetime, *, wall: datetime) -> bool:
    """Set a clock that was never moved; false when it was, or when it would go back."""
    is_set = await queries.start_at(uow.session, ahead=start - wall)
    if is_set:
        await queries.date_events(uow.session)
        await queries.tell(uow.session)
    return is_set


async def take_move(uow: UnitOfWork, *, holder: UUID) -> Move | None:
    """Take the move that waits for a worker; None when there is none, or another has it."""
    row = await queries.take(uow.session, holder=holder, lease=LEASE)
    if row is None:
        return None
    return Move(holder=holder, from_at=row.from_at, to_at=row.to_at, version=row.version)


async def step(uow: UnitOfWork, move: Move, *, ahead: timedelta, skipped: timedelta) -> int | None:
    """Set the clock; nobody was silent in the time that is skipped.

    Returns:
        The version that every process must know before anything happens at the new time; None
        when the move is not this process' any more.
    """
    version = await queries.step(uow.session, holder=move.holder, ahead=ahead, lease=LEASE)
    if version is not None:
        await heartbeats.skip_time(uow, skipped=skipped)
        await reconciliation.skip_time(uow, skipped=skipped)
        await queries.tell(uow.session)
    return version


async def leave_move(uow: UnitOfWork, move: Move, *, failure: str | None) -> None:
    """Let this worker, or another one, go on with it; what has stopped it is shown."""
    await queries.leave(uow.session, holder=move.holder, failure=failure)


async def end_move(uow: UnitOfWork, move: Move) -> None:
    """Note that time is where it was to go; every process goes on with its work."""
    await queries.end(uow.session, holder=move.holder)
    await queries.tell(uow.session)


async def is_followed(uow: UnitOfWork, *, version: int) -> bool:
    """Tell whether every process that follows the clock knows this version."""
    return await queries.count_behind(uow.session, version=version) == 0


async def next_waiting(uow: UnitOfWork) -> datetime | None:
    """Return when the first received event or queued text is due; None when none waits."""
    return await queries.next_waiting(uow.session)
