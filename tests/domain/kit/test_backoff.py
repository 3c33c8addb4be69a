"""Waits that grow with each attempt, computed in Python and in SQL."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.backoff import Backoff

BACKOFF = Backoff(first=timedelta(seconds=0.5), longest=timedelta(minutes=1), factor=4)


def test_wait_grows_by_the_factor_up_to_the_longest() -> None:
    waits = [BACKOFF.wait(attempt).total_seconds() for attempt in range(1, 7)]

    assert waits == [0.5, 2, 8, 32, 60, 60]


def test_very_high_attempt_number_gives_the_longest_wait() -> None:
    assert BACKOFF.wait(10_000) == BACKOFF.longest


async def test_sql_and_python_give_the_same_wait(session: AsyncSession) -> None:
    attempts = [1, 2, 5, 10_000]
    found = await session.execute(
        text(f"SELECT {BACKOFF.sql('n')} FROM unnest(CAST(:attempts AS integer[])) AS a (n)"),
        {"attempts": attempts},
    )

    assert list(found.scalars()) == [BACKOFF.wait(attempt) for attempt in attempts]
