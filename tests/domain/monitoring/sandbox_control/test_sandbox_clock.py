"""The sandbox clock in the database: one worker moves it, and it never goes back."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr, TypeAdapter
from sqlalchemy import text
from tests.conftest import NOW

from crm_api.domain.monitoring.sandbox_control.clock_moves import (
    begin_clock_move,
    end_clock_move,
    read_sandbox_clock,
    refuse_moved_time,
    release_clock_move,
    step_clock,
    take_clock_move,
)
from crm_api.domain.monitoring.sandbox_control.errors import (
    ClockGoesForwardError,
    ClockMovesError,
    ClockTooFarError,
)
from crm_api.domain.monitoring.sandbox_control.schemas import ClockMove, Duration, write_duration
from crm_api.platform.database import UnitOfWork
from crm_api.platform.database_time import start_sandbox_clock
from crm_api.platform.settings import Settings, SettingsError

NewUow = Callable[[], UnitOfWork]
DAY = timedelta(days=1)
DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


async def _begin_move(new_uow: NewUow, *, days: int = 14) -> None:
    async with new_uow() as uow:
        await begin_clock_move(uow, ClockMove(advance=timedelta(days=days)), now=NOW)


@pytest.mark.parametrize(
    "move",
    [ClockMove(to=NOW), ClockMove(to=NOW - DAY), ClockMove(advance=timedelta(0))],
)
async def test_move_that_is_not_forward_is_refused(new_uow: NewUow, move: ClockMove) -> None:
    with pytest.raises(ClockGoesForwardError, match="clock shows 2026-11-25T15:00"):
        async with new_uow() as uow:
            await begin_clock_move(uow, move, now=NOW)


async def test_move_of_more_than_a_year_is_refused(new_uow: NewUow) -> None:
    with pytest.raises(ClockTooFarError):
        await _begin_move(new_uow, days=367)


async def test_second_concurrent_move_is_refused(committed_uow: NewUow) -> None:
    results = await asyncio.gather(
        _begin_move(committed_uow, days=1),
        _begin_move(committed_uow, days=2),
        return_exceptions=True,
    )

    assert [type(one) for one in results if one is not None] == [ClockMovesError]


async def test_another_worker_continues_a_released_move(new_uow: NewUow) -> None:
    await _begin_move(new_uow)
    async with new_uow() as uow:
        first = await take_clock_move(uow)
        second = await take_clock_move(uow)
        assert first is not None
        await release_clock_move(uow, first, failure="The sandbox does not answer.")
        shown = await read_sandbox_clock(uow)
        next_one = await take_clock_move(uow)
        stepped = await step_clock(uow, first, ahead=DAY, skipped=DAY)

    assert second is None
    assert shown is not None
    assert shown.failure == "The sandbox does not answer."
    assert next_one is not None
    assert (next_one.from_at, next_one.to_at) == (NOW, NOW + 14 * DAY)
    assert stepped is None


async def test_another_worker_takes_the_move_of_a_dead_worker(new_uow: NewUow) -> None:
    await _begin_move(new_uow)
    async with new_uow() as uow:
        await take_clock_move(uow)
        await uow.session.execute(
            text("UPDATE sandbox_clock SET held_until = clock_timestamp() - interval '1 s'")
        )
        found = await take_clock_move(uow)

    assert found is not None


async def test_clock_never_steps_back_and_moves_the_heartbeats_with_it(new_uow: NewUow) -> None:
    await _begin_move(new_uow)
    async with new_uow() as uow:
        await uow.session.execute(
            text("INSERT INTO worker_heartbeat (id, started_at, seen_at) VALUES (:id, :now, :now)"),
            {"id": uuid4(), "now": NOW},
        )
        move = await take_clock_move(uow)
        assert move is not None
        await step_clock(uow, move, ahead=2 * DAY, skipped=2 * DAY)
        await step_clock(uow, move, ahead=DAY, skipped=timedelta(0))
        await end_clock_move(uow, move)
        found = await read_sandbox_clock(uow)
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
    await _begin_move(new_uow)
    async with new_uow() as uow:
        move = await take_clock_move(uow)
        assert move is not None
        await step_clock(uow, move, ahead=3 * DAY, skipped=3 * DAY)
        after: timedelta = await uow.session.scalar(dated)

    assert (before, after) == (timedelta(0), 3 * DAY)


async def test_start_time_is_set_once_and_never_in_the_past(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        past = await start_sandbox_clock(uow.session, NOW - DAY, wall=NOW)
        first = await start_sandbox_clock(uow.session, NOW + DAY, wall=NOW)
        again = await start_sandbox_clock(uow.session, NOW + 9 * DAY, wall=NOW)
        found = await read_sandbox_clock(uow)

    assert (past, first, again) == (False, True, False)
    assert found is not None
    assert found.ahead == DAY


async def test_moved_clock_is_refused_with_a_real_api_key(
    settings: Settings, committed_uow: NewUow
) -> None:
    real = settings.model_copy(update={"openphone_api_key": SecretStr("real")})
    await refuse_moved_time(real)
    async with committed_uow() as uow:
        await start_sandbox_clock(uow.session, NOW + 14 * DAY, wall=NOW)

    await refuse_moved_time(settings)
    with pytest.raises(SettingsError, match="clock was moved by P14D"):
        await refuse_moved_time(real)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("PT0S", 0), ("PT90S", 90), ("P14D", 14 * 86_400), ("P2W", 14 * 86_400)],
)
def test_durations_are_read(written: str, seconds: int) -> None:
    assert DURATION.validate_python(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written", ["PT0S", "PT1M30S", "P14D", "PT6H", "P1DT12H30M5S", "P1DT1S", "P800D"]
)
def test_durations_are_written_as_they_are_read(written: str) -> None:
    assert write_duration(DURATION.validate_python(written)) == written
