"""Tests of the instants of `make test-dates`, and of the clocks in such a run."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.dates.days import moments
from tests.dates.library import find_library, write_copy

from crm_api.platform import clock
from crm_api.platform.settings import Settings

CLOSE = timedelta(seconds=30)


def at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "january", "april", "spring", "autumn", "leap_day", "five_years"),
    [
        ("2026-11-28T12:00", 2027, 2027, "2027-03-14", "2027-11-07", 2028, "2031-11-29T12:00"),
        ("2028-03-12T06:58", 2029, 2028, "2029-03-11", "2028-11-05", 2032, "2033-03-13T06:58"),
    ],
)
def test_runs_begin_at_the_next_edges_of_the_calendar(
    *, now: str, january: int, april: int, spring: str, autumn: str, leap_day: int, five_years: str
) -> None:
    assert [one.at for one in moments(at(now))] == [
        at(f"{january}-01-31T23:58"),
        at(f"{april}-04-30T23:58"),
        at(f"{spring}T06:58"),
        at(f"{autumn}T05:58"),
        at(f"{leap_day}-02-29T15:00"),
        at(five_years),
    ]


async def test_every_server_has_the_clock_of_the_tests(
    session: AsyncSession, settings: Settings
) -> None:
    """Prove that PostgreSQL, Redis and child processes have the same clock as the tests.

    In a run of `make test-dates`, every clock must be moved. Otherwise, the other tests prove
    nothing.
    """
    async with Redis.from_url(settings.require_redis_url()) as redis:
        seconds, _ = await redis.time()
    stored = await session.scalar(text("SELECT clock_timestamp()"))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import time; print(time.time())"), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await child.communicate()

    found = {
        "PostgreSQL": stored,
        "Redis": datetime.fromtimestamp(seconds, UTC),
        "child": datetime.fromtimestamp(float(printed), UTC),
    }
    assert [name for name, one in found.items() if abs(one - clock.now()) > CLOSE] == []
    if begins := os.environ.get("TESTS_BEGIN_AT"):
        assert clock.now() >= datetime.fromisoformat(begins)


async def test_postgresql_ends_a_statement_in_time(session: AsyncSession) -> None:
    await session.execute(text("SET LOCAL statement_timeout = '20ms'"))

    with pytest.raises(Exception, match="statement timeout"):
        await session.execute(text("SELECT pg_sleep(5)"))


def test_copy_of_the_library_replaces_no_function_that_waits(tmp_path: Path) -> None:
    library = find_library()
    if library is None:
        pytest.skip("libfaketime is not installed")
    copy = tmp_path / "copy.so"

    write_copy(library, copy)

    names = copy.read_bytes()
    assert b"clock_gettime\0" in names
    assert len(names) == library.stat().st_size
    assert names.count(b"epoll_wait\0") == library.read_bytes().count(b"epoll_wait\0") - 1
