"""Count how many people reach a stage within a number of days after their first message.

A funnel counts the people who reach each stage. A cohort is all people whose first message was sent
in the same day, week or month.
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
from crm_api.domain.insight.measures.dimensions import Bucket
from crm_api.domain.insight.measures.hour_sums import has_whole_hours
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limit_time
from crm_api.platform.database import typed_rows


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """The number of people who reached each stage.

    Each person has the same time (the window) to reach a stage, beginning with the first message.

    Attributes:
        people: For each stage, the number of people who reached it within their window.
        unripe: The number of people who are not counted because their window is not over.
    """

    people: dict[Stage, int]
    unripe: int


@dataclass(frozen=True, slots=True)
class _Count:
    stage: str
    people: int
    unripe: int


def _within(name: str, stage: Stage) -> str:
    """Return the SQL for the number of people who reached a stage within their window.

    The window is the time that each person has to reach the stage, beginning with the person's
    first message.
    """
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


MOST_COHORTS = 200


@dataclass(frozen=True, slots=True)
class CohortCell:
    """How many people of a cohort reached a stage within ``days`` days after their first message.

    A cohort is all people whose first message was sent in the same day, week or month.

    Attributes:
        cohort_start: The beginning of the cohort's day, week or month.
        days: The length of the window in days, beginning with the first message.
        people: The number of people in the cohort.
        reached: The number of these people who reached the stage within the window.
        is_ripe: Whether the window is over for all people of the cohort.
    """

    cohort_start: datetime
    days: int
    people: int
    reached: int
    is_ripe: bool


async def count_cohorts(
    session: AsyncSession,
    wanted: PeopleFilter,
    *,
    stage: Stage,
    bucket: Bucket,
    zone: str,
    step_days: int,
    steps: int,
    now: datetime,
) -> list[CohortCell]:
    """Return how many people of each cohort reached a stage, within several time limits (windows).

    The result contains the latest 200 cohorts, the oldest first. For each cohort, it has one
    ``CohortCell`` for each window, the shortest window first.

    Args:
        bucket: The period in which the people of a cohort got their first message: a day, a week or
            a month.
        zone: The IANA time zone of the days, weeks and months.
        step_days: The length of the shortest window, in days. Each longer window is a multiple of
            this length.
        steps: The number of windows.

    Raises:
        PeriodError: ``wanted.until`` is not after ``wanted.since``.
        TooManyRecordsError: Reading the records took too long. The transaction cannot be used any
            more.
    """
    wanted.check()
    at = time_of(stage)
    tables, reached = first_message_sql(wanted), f"SELECT f.sent_at, {at} AS at FROM first f"
    if at is None:
        tables += f", {outcome_stage_sql()}"
        reached = "SELECT l.sent_at, l.at FROM later l WHERE l.stage = :stage"
    # People are first counted by hour, so that the time zone is applied once for each hour, and not
    # once for each person. The column `place` is the number of the first window (1, 2, ...) in
    # which a person has reached the stage. In the rows that count all people of a cohort, it is 0.
    hour = "date_bin('1 hour', p.sent_at, '2000-01-01Z')" if has_whole_hours(zone) else "p.sent_at"
    statement = text(f"""
        WITH {tables}, hours AS (
            SELECT {hour} AS at, 0 AS place, count(*) AS people, 0 AS reached,
                   max(p.sent_at) AS latest
            FROM first p GROUP BY 1
            UNION ALL
            SELECT {hour}, CAST(greatest(1, ceil(extract(epoch FROM p.at - p.sent_at)
                       / (86400 * CAST(:step_days AS integer)))) AS integer), 0, count(*), NULL
            FROM ({reached}) p WHERE p.at IS NOT NULL GROUP BY 1, 2
        ), cohort AS MATERIALIZED (
            SELECT date_trunc('{bucket.value}', h.at, CAST(:zone AS text)) AS cohort_start, h.place,
                   sum(h.people) AS people, sum(h.reached) AS reached, max(h.latest) AS latest
            FROM hours h GROUP BY 1, 2
        ), latest AS (
            SELECT DISTINCT c.cohort_start FROM cohort c ORDER BY 1 DESC LIMIT {MOST_COHORTS}
        )
        SELECT c.cohort_start, a.days, CAST(sum(c.people) AS bigint) AS people,
               CAST(coalesce(sum(c.reached) FILTER (WHERE c.place <= a.place), 0) AS bigint)
                   AS reached,
               max(c.latest) + make_interval(days => a.days) <= :now AS is_ripe
        FROM latest l JOIN cohort c ON c.cohort_start = l.cohort_start
        CROSS JOIN LATERAL (
            SELECT s.place, s.place * CAST(:step_days AS integer) AS days
            FROM generate_series(1, CAST(:steps AS integer)) AS s (place)) a
        GROUP BY c.cohort_start, a.days ORDER BY c.cohort_start, a.days
    """)
    values = {
        **wanted.values(),
        "zone": zone,
        "step_days": step_days,
        "steps": steps,
        "now": now,
        **({"stage": stage.value} if at is None else {}),
    }
    async with limit_time(session, seconds=LONGEST_SECONDS, is_unordered=True):
        return typed_rows(CohortCell, await session.execute(statement, values))
