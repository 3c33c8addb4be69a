"""Count how many people reach each stage within a window that is the same for everybody."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.funnel.people import MessagedPeople, Stage, events_sql
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limited
from crm_api.platform.database import typed_rows


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """People by stage; only those whose whole window is over.

    Attributes:
        unripe: The people who are left out, because their window is not over.
    """

    people: dict[Stage, int]
    unripe: int


@dataclass(frozen=True, slots=True)
class _Count:
    stage: str
    ripe: int
    unripe: int


async def count_funnel(
    session: AsyncSession, wanted: MessagedPeople, *, window: timedelta, now: datetime
) -> Funnel:
    """Return how many people reached each stage within ``window`` of their first message.

    Raises:
        PeriodError: The period ends before it begins.
        TooManyRecordsError: The time is over. The transaction cannot be used any more.
    """
    wanted.check()
    statement = text(f"""
        WITH {events_sql(wanted)}
        SELECT e.stage,
               count(*) FILTER (WHERE e.sent_at + CAST(:window AS interval) <= :now
                                AND e.at <= e.sent_at + CAST(:window AS interval)) AS ripe,
               count(*) FILTER (WHERE e.sent_at + CAST(:window AS interval) > :now) AS unripe
        FROM event e GROUP BY e.stage
    """)
    values = {**wanted.values(), "window": window, "now": now}
    async with limited(session, seconds=LONGEST_SECONDS):
        found = typed_rows(_Count, await session.execute(statement, values))
    counts = {one.stage: one for one in found}
    messaged = counts.get(Stage.MESSAGED)
    return Funnel(
        people={stage: counts[stage].ripe if stage in counts else 0 for stage in Stage},
        unripe=0 if messaged is None else messaged.unripe,
    )
