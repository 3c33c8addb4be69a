"""The daily budget of paid look-ups, which several workers share."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from tests.conftest import NOW

from crm_api.domain.people.phone_validation.budget import LOT, Budget, next_day
from crm_api.domain.people.phone_validation.errors import BudgetSpentError
from crm_api.platform.database import UnitOfWorkFactory


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


async def read_used(new_uow: UnitOfWorkFactory) -> list[int]:
    async with new_uow() as uow:
        rows = await uow.session.scalars(text("SELECT used FROM phone_lookup_day ORDER BY day"))
        return list(rows)


@pytest.mark.parametrize("daily", [0, 1, LOT - 1, LOT, 3 * LOT + 7])
async def test_concurrent_workers_do_not_exceed_the_budget(
    committed_uow: UnitOfWorkFactory, daily: int
) -> None:
    taken = 0

    async def work() -> None:
        nonlocal taken
        async with Budget(committed_uow, daily=daily, now=Clock()) as budget:
            try:
                while True:
                    await budget.take()
                    taken += 1
                    await asyncio.sleep(0)
            except BudgetSpentError:
                return

    await asyncio.gather(*(work() for _ in range(4)))

    assert taken == daily
    assert sum(await read_used(committed_uow)) == daily


async def test_unused_look_ups_are_returned(new_uow: UnitOfWorkFactory) -> None:
    async with Budget(new_uow, daily=100, now=Clock()) as budget:
        days = [await budget.take() for _ in range(3)]
        while_open = await read_used(new_uow)
        budget.give_back(days[0])

    assert while_open == [LOT]
    assert await read_used(new_uow) == [2]


async def test_each_day_has_its_own_budget(new_uow: UnitOfWorkFactory) -> None:
    clock = Clock()
    async with Budget(new_uow, daily=1, now=clock) as budget:
        yesterday = await budget.take()
        with pytest.raises(BudgetSpentError):
            await budget.take()
        clock.now = next_day(NOW)
        await budget.take()
        budget.give_back(yesterday)
        with pytest.raises(BudgetSpentError):
            await budget.take()

    assert await read_used(new_uow) == [1, 1]


async def test_unused_look_ups_of_yesterday_are_returned_to_yesterday(
    new_uow: UnitOfWorkFactory,
) -> None:
    clock = Clock()
    async with Budget(new_uow, daily=100, now=clock) as budget:
        await budget.take()
        clock.now += timedelta(days=1)
        await budget.take()

    assert await read_used(new_uow) == [1, 1]
