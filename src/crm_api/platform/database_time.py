"""Read the time of the database's clock. Decisions use this time, not the host's time.

The row of ``sandbox_clock`` stores how far the sandbox's time is ahead of the database's clock.
There is no row until the sandbox's clock is set or moved.

- SQL statements use ``DATABASE_NOW``: the database's clock plus the value in the row.
- Python code calls ``clock.now()``. ``clock_follower`` changes its result when the row changes.
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DATABASE_NOW = """(clock_timestamp()
    + coalesce((SELECT ahead FROM sandbox_clock WHERE name = 'sandbox'), interval '0'))"""
"""SQL expression for the current time of the database, moved by the sandbox's clock. It has a new
value each time it is evaluated."""
CHANGED_CHANNEL = "crm_sandbox_clock"
"""Channel of PostgreSQL on which a notification is sent when the row in ``sandbox_clock``
changes."""
_READ = text(f"SELECT {DATABASE_NOW}")

_START = text("""
    INSERT INTO sandbox_clock (name, ahead, version)
    SELECT 'sandbox', CAST(:ahead AS interval), 1
    WHERE CAST(:ahead AS interval) >= interval '0'
    ON CONFLICT (name) DO NOTHING
    RETURNING name
""")

# The first call of this function changes the database; later calls do nothing. The first call waits
# for transactions that write events.
_DATE_EVENTS = text("SELECT date_events_in_sandbox()")

_NOTIFY = text(f"SELECT pg_notify('{CHANGED_CHANNEL}', '')")


async def read_database_now(session: AsyncSession) -> datetime:
    """Return the current time by the database's clock, including moves of the sandbox's clock."""
    now: datetime = (await session.execute(_READ)).scalar_one()
    return now


async def start_sandbox_clock(session: AsyncSession, start: datetime, *, wall: datetime) -> bool:
    """Set the sandbox's clock to ``start``; do nothing if it is already set or ``start`` is past.

    Args:
        wall: The current time of the machine's clock.

    Returns:
        True if this function has set the clock. False, without any change, if the clock was already
        set or moved, or if ``start`` is before ``wall``.
    """
    is_set = (await session.execute(_START, {"ahead": start - wall})).first() is not None
    if is_set:
        await date_events(session)
        await notify_clock_change(session)
    return is_set


async def date_events(session: AsyncSession) -> None:
    """Enable the trigger that stores the sandbox's time in new rows of the event log."""
    await session.execute(_DATE_EVENTS)


async def notify_clock_change(session: AsyncSession) -> None:
    """When the transaction commits, notify all processes that the sandbox's clock has changed."""
    await session.execute(_NOTIFY)
