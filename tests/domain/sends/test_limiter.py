"""One rate for all workers of a key, kept in the database."""

import asyncio
from datetime import timedelta

import pytest
from tests.conftest import NOW
from tests.domain.sends.ledger import after
from tests.measuring import measured

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.sends.limiter import Limiter


async def test_calls_follow_each_other_at_the_rate(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=8)
    waited = measured("crm_limiter_wait_seconds_sum")

    starts = []
    for _ in range(4):
        async with new_uow() as uow:
            starts.append(await limiter.reserve(uow, calls=2, now=NOW))

    assert starts == [after(0), after(0.25), after(0.5), after(0.75)]
    assert measured("crm_limiter_wait_seconds_sum") - waited == pytest.approx(1.5)


async def test_time_that_nobody_used_is_not_made_up(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=8)
    async with new_uow() as uow:
        await limiter.reserve(uow, calls=1, now=NOW)

    async with new_uow() as uow:
        assert await limiter.reserve(uow, calls=1, now=after(60)) == after(60)


async def test_two_workers_share_the_rate(committed_uow: UnitOfWorkFactory) -> None:
    limiters = [Limiter(rate_per_second=10), Limiter(rate_per_second=10)]

    async def reserve(limiter: Limiter) -> float:
        async with committed_uow() as uow:
            starts_at = await limiter.reserve(uow, calls=1, now=NOW)
        return (starts_at - NOW).total_seconds()

    starts = await asyncio.gather(*(reserve(limiter) for limiter in limiters * 10))

    assert sorted(round(start, 3) for start in starts) == [step / 10 for step in range(20)]


async def test_pause_that_the_provider_asks_for_holds_for_all(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=10)
    async with new_uow() as uow:
        await limiter.delay(uow, until=after(30))

    async with new_uow() as uow:
        assert await limiter.reserve(uow, calls=1, now=NOW) == after(30)


async def test_shorter_pause_does_not_take_back_a_longer_one(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=10)
    for until in (after(30), after(5)):
        async with new_uow() as uow:
            await limiter.delay(uow, until=until)

    async with new_uow() as uow:
        assert await limiter.reserve(uow, calls=1, now=NOW) == after(30)


async def test_keys_do_not_slow_each_other(new_uow: UnitOfWorkFactory) -> None:
    for name in ("one", "other"):
        limiter = Limiter(rate_per_second=1, name=name)
        async with new_uow() as uow:
            assert await limiter.reserve(uow, calls=1, now=NOW) == NOW
    assert limiter.spacing == timedelta(seconds=1)


async def test_worker_whose_clock_is_ahead_does_not_hold_the_others_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    limiter = Limiter(rate_per_second=10)
    now = clock.now()
    async with new_uow() as uow:
        await limiter.reserve(uow, calls=1, now=now + timedelta(hours=1))

    async with new_uow() as uow:
        starts_at = await limiter.reserve(uow, calls=1, now=now)

    assert starts_at - now < timedelta(minutes=1)
