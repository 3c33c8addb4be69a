"""The locks of the jobs that store records of insight, and the place of their people."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

ALL = "insight_person_tally"
"""The lock of all these jobs. It has the name of the first of them, which earlier releases take."""
_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


async def may_settle(session: AsyncSession, name: str = ALL) -> bool:
    """Take the locks of a job until the end of the transaction; return whether it may run.

    Only one transaction settles at a time. So a place that is stored belongs to the person's place
    before the moves that another step takes, and no two steps wait for each other's rows.

    Args:
        session: The session.
        name: The lock that the job has in the release before.
    """
    for one in dict.fromkeys((name, ALL)):
        if not await session.scalar(_LOCK, {"name": one}):
            return False
    return True
