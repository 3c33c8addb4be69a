"""Checks before work: this machine's clock, and the provider's circuit before a read."""

import asyncio
import time
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
    """Compare this machine's clock with the database's; raise an alert if they differ."""
    async with deps.new_uow() as uow:
        skew = await readiness.clock_skew(uow, now=clock.wall_now())
        if abs(skew) <= MAX_SKEW:
            return True
        await raise_clock_skew(uow, of="database", skew=skew)
    return False


def _wall_clock_offset() -> float:
    """Return the seconds by which the wall clock is ahead of the monotonic clock."""
    return time.time() - time.monotonic()


async def wait_until_clock_is_set(
    read: Callable[[], float] = _wall_clock_offset, *, look_seconds: float = LOOK_SECONDS
) -> None:
    """Return when this machine's clock was set, forward or back, by more than ``MAX_SKEW``.

    A schedule that was planned by the old time would wait for the hour that the clock showed then.
    """
    begun = read()
    while abs(read() - begun) <= MAX_SKEW.total_seconds():  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(look_seconds)


async def raise_clock_skew(uow: UnitOfWork, *, of: str, skew: timedelta) -> None:
    """Raise an alert that this machine's clock differs from the one named by ``of``."""
    await alerts.raise_alert(
        uow,
        kind=AlertKind.CLOCK_SKEW,
        subject=of,
        detail=f"This worker's clock and the {of}'s differ by {skew.total_seconds():.0f} seconds; "
        "nothing is sent until they agree within five. Set the clocks (NTP).",
        now=clock.now(),
    )


@asynccontextmanager
async def provider_read(deps: Deps) -> AsyncIterator[None]:
    """Wrap a read and report its result to the circuit that all calls share.

    Raises:
        OpenPhoneDownError: The provider is down, so the read is not begun.
    """
    circuit = deps.circuit
    if circuit is None:
        yield
        return
    async with deps.new_uow() as uow:
        state = await circuits.read_circuit(uow, circuit)
    if state.is_open:
        raise OpenPhoneDownError("OpenPhone has not answered lately; it is asked once it does.")
    try:
        yield
    except OpenPhoneDownError:
        raise  # It was not called.
    except OpenPhoneBusyError as error:
        if not error.is_answer:
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
    """Wait until the shared limiter allows a call; return the instant at which it begins.

    Args:
        now: The clock that the limiter follows; the process's clock if None.
    """
    now = now or clock.now
    async with deps.new_uow() as uow:
        starts_at = await deps.limiter.reserve(uow, calls=1, now=now())
    await asyncio.sleep(max(0.0, (starts_at - now()).total_seconds()))
    return now()


async def _note_pause(deps: Deps, error: OpenPhoneBusyError) -> None:
    """Hold back all calls of the API key if the provider asked for a pause."""
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
            await circuits.record_answer(uow, deps.circuit, now=clock.now(), is_proof=False)
