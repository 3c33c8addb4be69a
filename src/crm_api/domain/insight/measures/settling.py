"""Locks of the jobs that store records and sums for figures: only one of them runs at a time."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import typed_row

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


@dataclass(frozen=True, slots=True)
class SettleStep:
    """The next hours that a job stores.

    Attributes:
        since: The instant before which all records are stored.
        until: The instant before which all records are stored after this step.
        has_changes: Whether stored records have changed and must be stored again.
    """

    since: datetime
    until: datetime
    has_changes: bool


async def next_step(
    session: AsyncSession, statement: TextClause, *, most: int
) -> SettleStep | None:
    """Return the next step of a job; None if there is nothing to store.

    Args:
        session: The session, with the locks of ``may_settle``.
        statement: Selects ``since``, ``until`` and ``has_changes``. Its parameter is ``most``.
        most: The number of records after which a step ends with the hour.
    """
    step = typed_row(SettleStep, (await session.execute(statement, {"most": most})).one())
    return step if step.since < step.until or step.has_changes else None
