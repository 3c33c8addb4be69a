"""Follow the people of each day, week or month for the same number of days."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.funnel.people import MessagedPeople, Stage, events_sql
from crm_api.domain.insight.measures.dimensions import Bucket
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limited
from crm_api.platform.database import typed_rows

MOST_COHORTS = 200


@dataclass(frozen=True, slots=True)
class CohortCell:
    """The people of a cohort who reached the stage within ``days`` of their first message.

    Attributes:
        is_ripe: False while the window of the last person of the cohort is not over.
    """

    cohort_start: datetime
    days: int
    people: int
    reached: int
    is_ripe: bool


async def count_cohorts(
    session: AsyncSession,
    wanted: MessagedPeople,
    *,
    stage: Stage,
    bucket: Bucket,
    zone: str,
    step_days: int,
    steps: int,
    now: datetime,
) -> list[CohortCell]:
    """Return the cells of the latest 200 cohorts, by cohort, then by age.

    Args:
        session: The session.
        wanted: Which people are followed.
        stage: The stage that is counted.
        bucket: The length of a cohort.
        zone: The time zone of the cohorts.
        step_days: The days from one column to the next.
        steps: The number of columns.
        now: The present instant.

    Raises:
        PeriodError: The period ends before it begins.
        TooManyRecordsError: The time is over. The transaction cannot be used any more.
    """
    wanted.check()
    statement = text(f"""
        WITH {events_sql(wanted)}, cohort AS (
            SELECT date_trunc('{bucket.value}', f.sent_at, CAST(:zone AS text)) AS cohort_start,
                   f.person, f.sent_at, e.at
            FROM first f LEFT JOIN event e ON e.person = f.person AND e.stage = :stage
        ), latest AS (
            SELECT DISTINCT c.cohort_start FROM cohort c ORDER BY 1 DESC LIMIT {MOST_COHORTS}
        )
        SELECT c.cohort_start, a.days, count(*) AS people,
               count(*) FILTER (WHERE c.at <= c.sent_at + make_interval(days => a.days)) AS reached,
               max(c.sent_at) + make_interval(days => a.days) <= :now AS is_ripe
        FROM latest l JOIN cohort c ON c.cohort_start = l.cohort_start
        CROSS JOIN LATERAL (
            SELECT place * CAST(:step_days AS integer) AS days
            FROM generate_series(1, CAST(:steps AS integer)) AS s (place)) a
        GROUP BY c.cohort_start, a.days ORDER BY c.cohort_start, a.days
    """)
    values = {
        **wanted.values(),
        "zone": zone,
        "stage": stage.value,
        "step_days": step_days,
        "steps": steps,
        "now": now,
    }
    async with limited(session, seconds=LONGEST_SECONDS):
        return typed_rows(CohortCell, await session.execute(statement, values))
