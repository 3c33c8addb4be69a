"""Locks of the jobs that store records and sums for figures: only one of them runs at a time."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

ALL = "insight_person_tally"
"""The lock that all these jobs take. In earlier releases, only ``settle_people`` takes it."""
_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


async def may_settle(session: AsyncSession, name: str = ALL) -> bool:
    """Take the locks of a job until the end of the transaction; return whether the job may run.

    Only one of these jobs runs at a time. So ``place_records`` stores no place while
    ``settle_people`` moves the sums of people, and no two jobs wait for each other's rows.

    Args:
        session: The session.
        name: The name of a second lock. In earlier releases, the job takes only this lock. So
            during an update, a process of an earlier release cannot run the same job at the same
            time.
    """
    for one in dict.fromkeys((name, ALL)):
        if not await session.scalar(_LOCK, {"name": one}):
            return False
    return True
