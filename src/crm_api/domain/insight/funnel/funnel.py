"""Count how many people reach each stage within a window after their first message.

The window has the same length for all people.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.funnel.people import (
    PeopleFilter,
    Stage,
    first_message_sql,
    outcome_stage_sql,
    time_of,
)
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limit_time
from crm_api.platform.database import typed_rows


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """The number of people who reached each stage.

    Each person has the same time to reach a stage, beginning with the person's first message. This
    time is called the window. A person is counted only after the person's window is over.

    Attributes:
        people: For each stage, the number of people who reached it within their window.
        unripe: The number of people whose window is not over.
    """

    people: dict[Stage, int]
    unripe: int


@dataclass(frozen=True, slots=True)
class _Count:
    stage: str
    people: int
    unripe: int


def _within(name: str, stage: Stage) -> str:
    """Return the SQL for the number of people who reached a stage within their window."""
    return f"""count(*) FILTER (WHERE f.sent_at <= :ripe_until
                       AND {time_of(stage)} <= f.sent_at + CAST(:window AS interval)) AS {name}"""


async def count_funnel(
    session: AsyncSession, wanted: PeopleFilter, *, window: timedelta, now: datetime
) -> Funnel:
    """Return how many people reached each stage within ``window`` after their first message.

    Raises:
        PeriodError: ``wanted.until`` is not after ``wanted.since``.
        TooManyRecordsError: Reading the records took longer than the time limit. The transaction
            cannot be used any more.
    """
    wanted.check()
    statement = text(f"""
        WITH {first_message_sql(wanted)}, {outcome_stage_sql()}, counted AS (
            SELECT count(*) FILTER (WHERE f.sent_at > :ripe_until) AS unripe,
                   count(*) FILTER (WHERE f.sent_at <= :ripe_until) AS messaged,
                   {_within("delivered", Stage.DELIVERED)},
                   {_within("replied", Stage.REPLIED)}
            FROM first f
        )
        SELECT s.stage, s.people, c.unripe
        FROM counted c CROSS JOIN LATERAL (VALUES ('{Stage.MESSAGED}', c.messaged),
            ('{Stage.DELIVERED}', c.delivered), ('{Stage.REPLIED}', c.replied)) AS s (stage, people)
        UNION ALL
        SELECT l.stage, count(*), 0 FROM later l
        WHERE l.sent_at <= :ripe_until
          AND l.at <= l.sent_at + CAST(:window AS interval)
        GROUP BY l.stage
    """)
    values = {**wanted.values(), "window": window, "ripe_until": now - window}
    async with limit_time(session, seconds=LONGEST_SECONDS, is_unordered=True):
        found = typed_rows(_Count, await session.execute(statement, values))
    counts = {one.stage: one.people for one in found}
    return Funnel(
        people={stage: counts.get(stage, 0) for stage in Stage},
        unripe=sum(one.unripe for one in found if one.stage == Stage.MESSAGED),
    )
