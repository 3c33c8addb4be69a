"""All workers that use one API key share one rate of calls, which is stored in the database."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import after
from tests.measuring import measured

from crm_api.domain.messaging.sends.limiter import Limiter, ProviderPause
from crm_api.domain.provider.openphone.errors import OpenPhoneHeldError
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory


async def test_calls_follow_each_other_at_the_rate(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=8)
    waited = measured("crm_limiter_wait_seconds_sum")

    starts = []
    for _ in range(4):
        async with new_uow() as uow:
            starts.append(await limiter.reserve(uow, calls=2, now=NOW))

    assert starts == [after(0), after(0.25), after(0.5), after(0.75)]
    assert measured("crm_limiter_wait_seconds_sum") - waited == pytest.approx(1.5)


async def test_unused_time_allows_no_burst(new_uow: UnitOfWorkFactory) -> None:
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


async def test_pause_that_the_provider_asks_for_applies_to_all_workers(
    new_uow: UnitOfWorkFactory,
) -> None:
    limiter = Limiter(rate_per_second=10)
    async with new_uow() as uow:
        await limiter.pause(uow, seconds=30, asked_seconds=30, now=NOW)

    async with new_uow() as uow:
        assert await limiter.reserve(uow, calls=1, now=NOW) == after(30)


async def test_shorter_pause_does_not_replace_a_longer_one(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=10)
    for seconds in (30, 5):
        async with new_uow() as uow:
            await limiter.pause(uow, seconds=seconds, asked_seconds=seconds, now=NOW)

    async with new_uow() as uow:
        assert await limiter.read_pause(uow, now=NOW) == ProviderPause(
            until=after(30), asked_seconds=30
        )
        assert await limiter.reserve(uow, calls=1, now=NOW) == after(30)


async def test_keys_do_not_slow_each_other(new_uow: UnitOfWorkFactory) -> None:
    for name in ("one", "other"):
        limiter = Limiter(rate_per_second=1, name=name)
        async with new_uow() as uow:
            assert await limiter.reserve(uow, calls=1, now=NOW) == NOW
    assert limiter.spacing == timedelta(seconds=1)


async def test_worker_whose_clock_is_ahead_does_not_delay_other_workers(
    new_uow: UnitOfWorkFactory,
) -> None:
    limiter = Limiter(rate_per_second=10)
    now = clock.now()
    async with new_uow() as uow:
        await limiter.reserve(uow, calls=1, now=now + timedelta(hours=1))

    async with new_uow() as uow:
        starts_at = await limiter.reserve(uow, calls=1, now=now)

    assert starts_at - now < timedelta(minutes=1)


async def test_pause_longer_than_a_job_waits_reserves_no_start(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=10)
    async with new_uow() as uow:
        await limiter.pause(uow, seconds=300, asked_seconds=300, now=NOW)

    for _ in range(3):
        with pytest.raises(OpenPhoneHeldError) as caught:
            async with new_uow() as uow:
                await limiter.reserve(uow, calls=100, now=NOW)

    assert caught.value.until == after(300)


async def test_pause_is_read_until_it_is_over(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=10)
    async with new_uow() as uow:
        await limiter.pause(uow, seconds=300, asked_seconds=1e18, now=NOW)

    async with new_uow() as uow:
        assert await limiter.read_pause(uow, now=after(299)) == ProviderPause(
            until=after(300), asked_seconds=1e18
        )
        assert await limiter.read_pause(uow, now=after(300)) is None


async def test_pause_can_be_ended(new_uow: UnitOfWorkFactory) -> None:
    limiter = Limiter(rate_per_second=10)
    async with new_uow() as uow:
        await limiter.pause(uow, seconds=300, asked_seconds=300, now=NOW)

    async with new_uow() as uow:
        assert await limiter.end_pause(uow, now=after(1))
        assert not await limiter.end_pause(uow, now=after(1))
        assert await limiter.reserve(uow, calls=1, now=after(1)) == after(1)


async def test_start_that_is_a_year_ahead_is_cut_to_ten_minutes(new_uow: UnitOfWorkFactory) -> None:
    """Test a stored pause of a year, which is shortened to ten minutes.

    An earlier version stored every pause that the provider asked for, of any length.
    """
    limiter = Limiter(rate_per_second=10)
    now = clock.now()
    async with new_uow() as uow:
        await uow.session.execute(
            text("INSERT INTO rate_limit (name, next_at) VALUES ('openphone', :at)"),
            {"at": now + timedelta(days=365)},
        )

    with pytest.raises(OpenPhoneHeldError) as caught:
        async with new_uow() as uow:
            await limiter.reserve(uow, calls=1, now=now)

    assert caught.value.until - now < timedelta(minutes=11)
