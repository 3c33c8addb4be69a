"""Check, before a job does work, that the clock is right and that the provider responds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.messaging.sends import provider_pauses
from crm_api.domain.messaging.sends.dispatcher import MAX_SKEW
from crm_api.domain.monitoring import readiness
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneDownError
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.workers.deps import Deps

LOOK_SECONDS = 1.0


async def clock_agrees(deps: Deps) -> bool:
    """Return True if this machine's clock agrees with the database's clock.

    If the two clocks differ too much, raise an alert and return False.
    """
    async with deps.new_uow() as uow:
        skew = await readiness.clock_skew(uow, now=clock.wall_now())
        if abs(skew) <= MAX_SKEW:
            return True
        await raise_clock_skew(uow, of="database", skew=skew)
    return False


async def wait_until_clock_is_set(
    read: Callable[[], float] = clock.wall_offset, *, look_seconds: float = LOOK_SECONDS
) -> None:
    """Wait until a person or program changes this machine's clock by more than ``MAX_SKEW``.

    When this function returns, the caller must plan the next run of each job again, because the
    planned times were computed with the old clock.

    Args:
        read: Returns wall clock minus monotonic clock, in seconds.
        look_seconds: Seconds between two reads of the clocks.
    """
    begun = read()
    while abs(read() - begun) <= MAX_SKEW.total_seconds():  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(look_seconds)


async def raise_clock_skew(uow: UnitOfWork, *, of: str, skew: timedelta) -> None:
    """Raise an alert that this machine's clock differs from another clock.

    Args:
        uow: An open transaction.
        of: The other clock: ``database`` or ``provider``.
        skew: The difference between the clocks.
    """
    await alerts.raise_alert(
        uow,
        kind=AlertKind.CLOCK_SKEW,
        subject=of,
        detail=f"The clocks of this worker and of the {of} differ by {skew.total_seconds():.0f} "
        "seconds. No message is sent until they differ by at most five seconds. Set the clocks, "
        "for example with NTP.",
        now=clock.now(),
    )


async def report_provider_skew(deps: Deps, skew: timedelta) -> None:
    """Raise an alert that the clocks of this worker and of the provider differ by ``skew``."""
    async with deps.new_uow() as uow:
        await raise_clock_skew(uow, of="provider", skew=skew)


@asynccontextmanager
async def provider_read(deps: Deps) -> AsyncIterator[None]:
    """Let the ``async with`` block send one read request to the provider.

    All requests to the provider share one circuit breaker. This function checks the circuit breaker
    before the block. After the block, the circuit breaker records whether the provider responded.

    Raises:
        OpenPhoneDownError: The circuit is open, because the provider does not respond; the block
            does not run.
    """
    circuit = deps.circuit
    if circuit is None:
        yield
        return
    async with deps.new_uow() as uow:
        state = await circuits.read_circuit(uow, circuit)
    if state.is_open:
        raise OpenPhoneDownError
    try:
        yield
    except OpenPhoneDownError:
        # The provider was not called, so there is no failure or response to record.
        raise
    except OpenPhoneBusyError as error:
        if not error.is_throttled:
            async with deps.new_uow() as uow:
                await circuits.record_failures(
                    uow, circuit, count=1, error=error.detail, now=clock.now()
                )
            raise
        await _note_answer(deps)
        await _note_pause(deps, error)
        raise
    except CrmError:
        await _note_answer(deps)
        raise
    await _note_answer(deps)


async def wait_for_rate_limit(deps: Deps, *, now: Callable[[], datetime] | None = None) -> datetime:
    """Wait until the shared rate limit allows a request to the provider.

    Args:
        deps: The dependencies of the worker.
        now: Returns the current time; None uses the clock of this process.

    Returns:
        The time after the wait.
    """
    now = now or clock.now
    async with deps.new_uow() as uow:
        starts_at = await deps.limiter.reserve(uow, calls=1, now=now())
    await asyncio.sleep(max(0.0, (starts_at - now()).total_seconds()))
    return now()


async def _note_pause(deps: Deps, error: OpenPhoneBusyError) -> None:
    """If the provider has sent ``Retry-After``, pause all requests with our API key."""
    if error.retry_after_seconds is None:
        return
    async with deps.new_uow() as uow:
        await provider_pauses.begin_provider_pause(
            uow,
            deps.limiter,
            seconds=error.retry_after_seconds,
            asked_seconds=error.retry_after_asked,
            now=clock.now(),
        )


async def _note_answer(deps: Deps) -> None:
    if deps.circuit is not None:
        async with deps.new_uow() as uow:
            await circuits.record_response(uow, deps.circuit, now=clock.now(), is_proof=False)
