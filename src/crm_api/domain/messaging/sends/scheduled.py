"""Messages for later: how late they may be sent, and when the next one is due.

A message for later has a time of sending that a user chose (``scheduled_for``).
"""

from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.platform.database import UnitOfWork

LATEST_AFTER_SCHEDULE = timedelta(hours=48)
"""A message for later may still be sent this long after the instant that the user chose (Invariant
6). So the message is still sent after a day without legal hours, but not after the line was blocked
for a week."""

# Only instants within a short time are read, so the index on `send_after` finds few rows.
NEXT_SCHEDULED = text("""
    SELECT min(t.send_after) FROM activity t
    WHERE t.status = 'queued' AND t.send_after > :now AND t.send_after <= :until
      AND t.scheduled_for IS NOT NULL
""")


async def next_scheduled(uow: UnitOfWork, *, within: timedelta, now: datetime) -> datetime | None:
    """Return when the next message for later is due; None if none is due until ``now + within``."""
    due: datetime | None = await uow.session.scalar(
        NEXT_SCHEDULED, {"now": now, "until": now + within}
    )
    return due
