"""The sandbox's clock in the database: who moves it, who follows, and that it never goes back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from tests.conftest import NOW

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.playground import service as playground
from crm_api.domain.playground.durations import read_duration, write_duration
from crm_api.domain.playground.errors import (
    ClockGoesForwardError,
    ClockMovesError,
    ClockTooFarError,
)
from crm_api.domain.playground.following import ClockFollower, follow_clock
from crm_api.domain.playground.schemas import ClockMove
from crm_api.moved_time import refuse_moved_time
from crm_api.settings import Settings, SettingsError

NewUow = Callable[[], UnitOfWork]
DAY = timedelta(days=1)


@pytest.fixture
def _time_comes_back() -> Iterator[None]:
    yield
    clock.move(timedelta(0))


async def _begin(new_uow: NewUow, *, days: int = 14) -> None:
    async with new_uow() as uow:
        await playground.begin_move(uow, ClockMove(advance=timedelta(days=days)), now=NOW)


@pytest.mark.parametrize(
    "move",
    [ClockMove(to=NOW), ClockMove(to=NOW - DAY), ClockMove(advance=timedelta(0))],
)
async def test_time_does_not_go_back_or_stand(new_uow: NewUow, move: ClockMove) -> None:
    with pytest.raises(ClockGoesForwardError, match="It is 2026-11-25T15:00"):
        async with new_uow() as uow:
            await playground.begin_move(uow, move, now=NOW)


async def test_a_move_is_a_year_at_most(new_uow: NewUow) -> None:
    with pytest.raises(ClockTooFarError):
        await _begin(new_uow, days=367)


async def test_of_two_moves_at_once_one_is_refused(committed_uow: NewUow) -> None:
    results = await asyncio.gather(
        _begin(committed_uow, days=1), _begin(committed_uow, days=2), return_exceptions=True
    )

    assert [type(one) for one in results if one is not None] == [ClockMovesError]


async def test_one_worker_moves_and_another_goes_on_when_it_leaves(new_uow: NewUow) -> None:
    await _begin(new_uow)
    async with new_uow() as uow:
        first = await playground.take_move(uow, holder=uuid4())
        twin = await playground.take_move(uow, holder=uuid4())
        assert first is not None
        await playground.leave_move(uow, first, failure="The sandbox does not answer.")
        shown = await playground.get(uow)
        next_one = await playground.take_move(uow, holder=uuid4())
        step = await playground.step(uow, first, ahead=DAY, skipped=DAY)

    assert twin is None
    assert shown is not None
    assert shown.failure == "The sandbox does not answer."
    assert next_one is not None
    assert (next_one.from_at, next_one.to_at) == (NOW, NOW + 14 * DAY)
    assert step is None


async def test_a_worker_that_died_is_followed_by_another(new_uow: NewUow) -> None:
    await _begin(new_uow)
    async with new_uow() as uow:
        await playground.take_move(uow, holder=uuid4())
        await uow.session.execute(
            text("UPDATE sandbox_clock SET held_until = clock_timestamp() - interval '1 s'")
        )
        found = await playground.take_move(uow, holder=uuid4())

    assert found is not None


async def test_steps_go_forward_only_and_nobody_was_silent_meanwhile(new_uow: NewUow) -> None:
    await _begin(new_uow)
    async with new_uow() as uow:
        await uow.session.execute(
            text("INSERT INTO worker_heartbeat (id, started_at, seen_at) VALUES (:id, :now, :now)"),
            {"id": uuid4(), "now": NOW},
        )
        move = await playground.take_move(uow, holder=uuid4())
        assert move is not None
        await playground.step(uow, move, ahead=2 * DAY, skipped=2 * DAY)
        await playground.step(uow, move, ahead=DAY, skipped=timedelta(0))
        await playground.end_move(uow, move)
        found = await playground.get(uow)
        seen: datetime | None = await uow.session.scalar(
            text("SELECT seen_at FROM worker_heartbeat")
        )

    assert found is not None
    assert (found.ahead, found.stops, found.is_moving) == (2 * DAY, 2, False)
    assert seen == NOW + 2 * DAY


async def test_events_are_dated_by_the_moved_clock(new_uow: NewUow) -> None:
    dated = text("INSERT INTO event (type) VALUES ('alert') RETURNING recorded_at - now()")
    async with new_uow() as uow:
        before: timedelta = await uow.session.scalar(dated)
    await _begin(new_uow)
    async with new_uow() as uow:
        move = await playground.take_move(uow, holder=uuid4())
        assert move is not None
        await playground.step(uow, move, ahead=3 * DAY, skipped=3 * DAY)
        after: timedelta = await uow.session.scalar(dated)

    assert (before, after) == (timedelta(0), 3 * DAY)


async def test_a_start_is_set_once_and_never_in_the_past(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        past = await playground.start_at(uow, NOW - DAY, wall=NOW)
        first = await playground.start_at(uow, NOW + DAY, wall=NOW)
        again = await playground.start_at(uow, NOW + 9 * DAY, wall=NOW)
        found = await playground.get(uow)

    assert (past, first, again) == (False, True, False)
    assert found is not None
    assert found.ahead == DAY


@pytest_asyncio.fixture
async def held(
    settings: Settings, _time_comes_back: None, committed_uow: NewUow
) -> AsyncIterator["asyncio.Queue[bool]"]:
    """A process that follows, and what its follower has told it."""
    told: asyncio.Queue[bool] = asyncio.Queue()

    async def hold(is_moving: bool) -> None:  # noqa: FBT001 - as the follower calls it
        told.put_nowait(is_moving)

    async with committed_uow() as uow:
        await playground.start_at(uow, NOW + DAY, wall=NOW)
    task = await ClockFollower(settings.require_database_url(), hold=hold).start()
    yield told
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until_followed(new_uow: NewUow, version: int) -> None:
    async with asyncio.timeout(5):
        while True:
            async with new_uow() as uow:
                if await playground.is_followed(uow, version=version):
                    return
            await asyncio.sleep(0.001)


async def test_a_process_follows_and_holds_before_time_jumps(
    held: "asyncio.Queue[bool]", committed_uow: NewUow
) -> None:
    assert clock.ahead() == DAY
    await _begin(committed_uow)
    async with committed_uow() as uow:
        move = await playground.take_move(uow, holder=uuid4())
    assert move is not None
    await _until_followed(committed_uow, move.version)
    holds = [held.get_nowait() for _ in range(held.qsize())]
    before = clock.ahead()
    async with committed_uow() as uow:
        version = await playground.step(uow, move, ahead=5 * DAY, skipped=4 * DAY)
    assert version is not None
    await _until_followed(committed_uow, version)

    assert (holds, before) == ([False, True], DAY)
    assert clock.ahead() == 5 * DAY
    assert abs(clock.now() - clock.wall_now() - 5 * DAY) < timedelta(seconds=1)


async def test_time_that_was_moved_is_never_taken_for_real(
    settings: Settings, committed_uow: NewUow
) -> None:
    real = settings.model_copy(update={"openphone_api_key": SecretStr("real")})
    await refuse_moved_time(real)
    async with committed_uow() as uow:
        await playground.start_at(uow, NOW + 14 * DAY, wall=NOW)

    await refuse_moved_time(settings)
    with pytest.raises(SettingsError, match="time was moved in this database, by P14D"):
        await refuse_moved_time(real)


@pytest.mark.usefixtures("_time_comes_back")
async def test_nobody_follows_with_a_real_key(settings: Settings, committed_uow: NewUow) -> None:
    real = settings.model_copy(update={"openphone_api_key": SecretStr("real")})
    async with committed_uow() as uow:
        await playground.start_at(uow, NOW + DAY, wall=NOW)
    async with follow_clock(real, committed_uow), committed_uow() as uow:
        assert await playground.is_followed(uow, version=99)
        assert clock.ahead() == timedelta(0)
    async with follow_clock(settings, committed_uow), committed_uow() as uow:
        assert not await playground.is_followed(uow, version=99)
        assert clock.ahead() == DAY


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("PT0S", 0), ("PT90S", 90), ("P14D", 14 * 86_400), ("P2W", 14 * 86_400)],
)
def test_durations_are_read(written: str, seconds: int) -> None:
    assert read_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["PT0S", "PT1M30S", "P14D", "PT6H", "P1DT12H30M5S", "P1DT1S"])
def test_durations_are_written_as_they_were_read(written: str) -> None:
    assert write_duration(read_duration(written)) == written
