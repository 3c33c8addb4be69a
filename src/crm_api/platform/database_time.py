"""The database's clock, which dates every decision.

The clocks of web hosts, workers and the provider may be wrong by hours; the database has one clock
for all of them. With the sandbox, time can be moved forward. The one row of ``sandbox_clock``
stores how far it is ahead of the machine's clock; there is no row until time is moved.

- Statements read the row (``DATABASE_NOW``).
- Processes read ``clock.now()``, which ``clock_follower`` keeps at the row.
- ``workers/sandbox_time.py`` moves the row in steps, and then the provider's sandbox.
- The provider's sandbox plans its events by its own clock, and skips to them when it is moved
  (``dev/sandbox/timeline.py``).
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DATABASE_NOW = """(clock_timestamp()
    + coalesce((SELECT ahead FROM sandbox_clock WHERE name = 'sandbox'), interval '0'))"""
"""The current instant as an SQL expression; a new value each time it is evaluated."""
CHANGED_CHANNEL = "crm_sandbox_clock"
"""Notified when the row changes."""
_READ = text(f"SELECT {DATABASE_NOW}")

_START = text("""
    INSERT INTO sandbox_clock (name, ahead, version)
    SELECT 'sandbox', CAST(:ahead AS interval), 1
    WHERE CAST(:ahead AS interval) >= interval '0'
    ON CONFLICT (name) DO NOTHING
    RETURNING name
""")

# Applied once per database; takes a lock that waits for writers of events.
_DATE_EVENTS = text("SELECT date_events_in_sandbox()")

_NOTIFY = text(f"SELECT pg_notify('{CHANGED_CHANNEL}', '')")


async def read_database_now(session: AsyncSession) -> datetime:
    """Return the current instant by the database's clock."""
    now: datetime = (await session.execute(_READ)).scalar_one()
    return now


async def start_sandbox_clock(session: AsyncSession, start: datetime, *, wall: datetime) -> bool:
    """Set a clock that was never set; return False if it was, or if it would go back."""
    is_set = (await session.execute(_START, {"ahead": start - wall})).first() is not None
    if is_set:
        await date_events(session)
        await notify_clock_change(session)
    return is_set


async def date_events(session: AsyncSession) -> None:
    """Date live events by the moved clock from now on."""
    await session.execute(_DATE_EVENTS)


async def notify_clock_change(session: AsyncSession) -> None:
    """Notify every process to read the clock after the commit."""
    await session.execute(_NOTIFY)
