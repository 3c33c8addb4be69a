"""Messages for later: how late they may be sent, and when the next one is due."""

from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.platform.database import UnitOfWork

LATEST_AFTER_SCHEDULE = timedelta(hours=48)
"""Invariant 6: a message for later may still be sent this long after the instant that the user
chose. One day without legal hours does not stop the message, but a line that was blocked for a week
does."""

# Only instants within a short time are read, so the index on `send_after` finds few rows.
NEXT_SCHEDULED = text("""
    SELECT min(t.send_after) FROM activity t
    WHERE t.status = 'queued' AND t.send_after > :now AND t.send_after <= :until
      AND t.scheduled_for IS NOT NULL
""")


async def next_scheduled(uow: UnitOfWork, *, within: timedelta, now: datetime) -> datetime | None:
    """Return when the next message for later is due; None if none is due ``within`` this time."""
    due: datetime | None = await uow.session.scalar(
        NEXT_SCHEDULED, {"now": now, "until": now + within}
    )
    return due
