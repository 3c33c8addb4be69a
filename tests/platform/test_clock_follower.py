"""Prove that a process follows the sandbox's clock, which is in the database.

With a real API key, the process does not follow this clock.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import pytest_asyncio
from pydantic import SecretStr
from tests.conftest import NOW

from crm_api.domain.monitoring.sandbox_control.clock_moves import (
    begin_clock_move,
    is_clock_followed,
    step_clock,
    take_clock_move,
)
from crm_api.domain.monitoring.sandbox_control.schemas import ClockMove
from crm_api.platform import clock
from crm_api.platform.clock_follower import ClockFollower, follow_clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.database_time import start_sandbox_clock
from crm_api.platform.settings import Settings

NewUow = Callable[[], UnitOfWork]
DAY = timedelta(days=1)


@pytest_asyncio.fixture
async def held(
    settings: Settings, _restore_clock: None, committed_uow: NewUow
) -> AsyncIterator["asyncio.Queue[bool]"]:
    """Run a clock follower; yield a queue with the values that it passes to ``hold``."""
    holds: asyncio.Queue[bool] = asyncio.Queue()

    async def hold(is_moving: bool) -> None:  # noqa: FBT001 - the follower passes it by position
        holds.put_nowait(is_moving)

    async with committed_uow() as uow:
        await start_sandbox_clock(uow.session, NOW + DAY, wall=NOW)
    follower = ClockFollower(settings.require_database_url(), hold=hold)
    await follower.start()
    yield holds
    await follower.close()


async def _wait_until_followed(new_uow: NewUow, version: int) -> None:
    async with asyncio.timeout(30):
        while True:
            async with new_uow() as uow:
                if await is_clock_followed(uow, version=version):
                    return
            await asyncio.sleep(0.001)


async def test_process_follows_the_clock_and_holds_before_a_jump(
    held: "asyncio.Queue[bool]", committed_uow: NewUow
) -> None:
    assert clock.ahead() == DAY
    async with committed_uow() as uow:
        await begin_clock_move(uow, ClockMove(advance=14 * DAY), now=NOW)
    async with committed_uow() as uow:
        move = await take_clock_move(uow)
    assert move is not None
    await _wait_until_followed(committed_uow, move.version)
    holds = [held.get_nowait() for _ in range(held.qsize())]
    before = clock.ahead()
    async with committed_uow() as uow:
        version = await step_clock(uow, move, ahead=5 * DAY, skipped=4 * DAY)
    assert version is not None
    await _wait_until_followed(committed_uow, version)

    assert (holds, before) == ([False, True], DAY)
    assert clock.ahead() == 5 * DAY
    assert abs(clock.now() - clock.wall_now() - 5 * DAY) < timedelta(seconds=1)


@pytest.mark.usefixtures("_restore_clock")
async def test_no_process_follows_with_a_real_key(
    settings: Settings, committed_uow: NewUow
) -> None:
    real = settings.model_copy(update={"openphone_api_key": SecretStr("real")})
    async with committed_uow() as uow:
        await start_sandbox_clock(uow.session, NOW + DAY, wall=NOW)
    async with follow_clock(real, committed_uow), committed_uow() as uow:
        assert await is_clock_followed(uow, version=99)
        assert clock.ahead() == timedelta(0)
    async with follow_clock(settings, committed_uow), committed_uow() as uow:
        assert not await is_clock_followed(uow, version=99)
        assert clock.ahead() == DAY
