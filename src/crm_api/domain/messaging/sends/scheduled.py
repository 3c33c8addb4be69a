"""Messages for later: how late they may be sent, and when the next one is due."""

from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.platform.database import UnitOfWork

LATEST_AFTER_SCHEDULE = timedelta(hours=48)
"""How long after the instant that a user chose a message may still be sent ("Invariant 6"). One day
without legal hours does not stop it, but a line that was blocked for a week does."""

# Only instants within a short time are read, so the index on `send_after` finds few rows.
NEXT_SCHEDULED = text("""
    SELECT min(t.send_after) FROM activity t
    WHERE t.status = 'queued' AND t.send_after > :now AND t.send_after <= :until
      AND t.scheduled_for IS NOT NULL
""")


async def next_scheduled(uow: UnitOfWork, *, within: timedelta, now: datetime) -> datetime | None:
    """Return when the next message for later is due, if that is ``within`` this time from now."""
    due: datetime | None = await uow.session.scalar(
        NEXT_SCHEDULED, {"now": now, "until": now + within}
    )
    return due
