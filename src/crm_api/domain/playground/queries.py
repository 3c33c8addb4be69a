"""The statements of the sandbox's clock."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.playground.models import SandboxClock

NAME = "sandbox"
CHANNEL = "crm_sandbox_clock"
APPLICATION = "crm-api clock"
"""What connections that follow the clock are called, before the version that they know."""

_TELL = text(f"SELECT pg_notify('{CHANNEL}', '')")

_BEGIN = text("""
    INSERT INTO sandbox_clock AS c (name, ahead, version, is_moving, from_at, to_at, stops)
    VALUES (:name, interval '0', 1, true, :now, :to, 0)
    ON CONFLICT (name) DO UPDATE
    SET version = c.version + 1, is_moving = true, from_at = excluded.from_at,
        to_at = excluded.to_at, stops = 0, failure = NULL, holder = NULL, held_until = NULL
    WHERE NOT c.is_moving
    RETURNING c.name
""")

_START_AT = text("""
    INSERT INTO sandbox_clock (name, ahead, version)
    SELECT :name, CAST(:ahead AS interval), 1
    WHERE CAST(:ahead AS interval) >= interval '0'
    ON CONFLICT (name) DO NOTHING
    RETURNING name
""")

# Once for a database, under a lock for which writers of events are waited for.
_DATE_EVENTS = text("SELECT date_events_in_sandbox()")

_TAKE = text("""
    UPDATE sandbox_clock
    SET holder = :holder, held_until = clock_timestamp() + CAST(:lease AS interval)
    WHERE name = :name AND is_moving
      AND (holder IS NULL OR held_until < clock_timestamp())
    RETURNING from_at, to_at, version
""")

_STEP = text("""
    UPDATE sandbox_clock
    SET ahead = greatest(ahead, CAST(:ahead AS interval)), version = version + 1,
        stops = stops + 1, failure = NULL, held_until = clock_timestamp() + CAST(:lease AS interval)
    WHERE name = :name AND is_moving AND holder = :holder
    RETURNING version
""")

_LEAVE = text("""
    UPDATE sandbox_clock SET holder = NULL, held_until = NULL, failure = :failure
    WHERE name = :name AND holder = :holder
""")

_END = text("""
    UPDATE sandbox_clock
    SET is_moving = false, version = version + 1, holder = NULL, held_until = NULL
    WHERE name = :name AND holder = :holder
""")

_BEHIND = text(f"""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE '{APPLICATION} %'
      AND application_name <> :known
""")

# What is due by itself, outside campaigns: events that are tried again, texts that wait.
_NEXT_WAITING = text("""
    SELECT least(
        (SELECT min(next_attempt_at) FROM webhook_event WHERE status IN ('pending', 'failed')),
        (SELECT min(send_after) FROM activity WHERE status = 'queued'))
""")

FOLLOW = f"SELECT ahead, version, is_moving FROM sandbox_clock WHERE name = '{NAME}'"
"""What every process knows of the clock, for a connection without SQLAlchemy."""


async def tell(session: AsyncSession) -> None:
    """Let every process look at the clock once this is committed."""
    await session.execute(_TELL)


async def get(session: AsyncSession) -> SandboxClock | None:
    """Fetch the clock."""
    query = select(SandboxClock).where(SandboxClock.name == NAME)
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def date_events(session: AsyncSession) -> None:
    """Let live events be dated by the moved clock from now on."""
    await session.execute(_DATE_EVENTS)


async def begin(session: AsyncSession, *, now: datetime, to: datetime) -> bool:
    """Note that time is to move; false when it moves already."""
    values = {"name": NAME, "now": now, "to": to}
    return (await session.execute(_BEGIN, values)).first() is not None


async def start_at(session: AsyncSession, *, ahead: timedelta) -> bool:
    """Set the clock where there is none; false where there is, or where it would go back."""
    values = {"name": NAME, "ahead": ahead}
    return (await session.execute(_START_AT, values)).first() is not None


async def take(session: AsyncSession, *, holder: UUID, lease: timedelta) -> Row[Any] | None:
    """Take the move that waits for somebody; None when there is none."""
    values = {"name": NAME, "holder": holder, "lease": lease}
    return (await session.execute(_TAKE, values)).first()


async def step(
    session: AsyncSession, *, holder: UUID, ahead: timedelta, lease: timedelta
) -> int | None:
    """Move the clock; the version that all must know. None when the move is somebody else's."""
    values = {"name": NAME, "holder": holder, "ahead": ahead, "lease": lease}
    version: int | None = await session.scalar(_STEP, values)
    return version


async def leave(session: AsyncSession, *, holder: UUID, failure: str | None) -> None:
    """Let somebody else go on with the move."""
    await session.execute(_LEAVE, {"name": NAME, "holder": holder, "failure": failure})


async def end(session: AsyncSession, *, holder: UUID) -> None:
    """Note that time is where it was to go."""
    await session.execute(_END, {"name": NAME, "holder": holder})


async def count_behind(session: AsyncSession, *, version: int) -> int:
    """Count the processes that do not know this version of the clock yet."""
    return int(await session.scalar(_BEHIND, {"known": f"{APPLICATION} {version}"}) or 0)


async def next_waiting(session: AsyncSession) -> datetime | None:
    """Return when the first of what waits outside campaigns is due."""
    instant: datetime | None = await session.scalar(_NEXT_WAITING)
    return instant
