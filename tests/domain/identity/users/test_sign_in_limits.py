"""Several sign-ins change the counters of failed sign-ins at the same time."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.locks import blocked

from crm_api.domain.identity.users import sign_in_limits
from crm_api.domain.identity.users.models import SignInThrottle
from crm_api.domain.identity.users.sign_in_limits import CountedAttempt
from crm_api.platform.database import UnitOfWork


async def test_success_that_waits_for_a_counter_has_not_locked_a_later_counter(
    committed_uow: Callable[[], UnitOfWork], committed_db: AsyncEngine
) -> None:
    # If a successful sign-in locked the later counter before it waits for the earlier counter, it
    # could deadlock with a sign-in whose failure is being counted.
    first, last = b"\x01" * 32, b"\x02" * 32
    counted = CountedAttempt(user=None, network="192.0.2.7", own=(first,), shared=last)
    async with committed_uow() as uow:
        for subject in (first, last):
            counter = SignInThrottle(
                subject=subject, allowance=5, failures=1, last_failed_at=NOW, blocked_until=NOW
            )
            uow.session.add(counter)

    async def succeed() -> None:
        async with committed_uow() as uow:
            await sign_in_limits.uncount_attempt(uow, counted)

    async with committed_uow() as uow:
        await uow.session.get(SignInThrottle, first, with_for_update=True)
        succeeding = await blocked(committed_db, succeed())
        held = await uow.session.get(SignInThrottle, last, with_for_update={"nowait": True})
    await succeeding

    assert held is not None
