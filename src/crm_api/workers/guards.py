"""Checks that jobs make before their work: of this machine's clock, and before a provider call."""

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
    """Return whether this machine's clock agrees with the database's clock.

    If they differ by more than ``MAX_SKEW``, an alert is raised.
    """
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
    """Wait until somebody sets this machine's clock forward or back by more than ``MAX_SKEW``.

    A worker must then plan its schedule again, because the schedule was planned by the old time.
    """
    begun = read()
    while abs(read() - begun) <= MAX_SKEW.total_seconds():  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(look_seconds)


async def raise_clock_skew(uow: UnitOfWork, *, of: str, skew: timedelta) -> None:
    """Raise an alert that this machine's clock differs from another clock.

    Args:
        of: The owner of the other clock, such as ``database``; it is the subject of the alert.
        skew: How far this machine's clock is ahead.
    """
    await alerts.raise_alert(
        uow,
        kind=AlertKind.CLOCK_SKEW,
        subject=of,
        detail=f"The clock of this worker and the clock of the {of} differ by "
        f"{skew.total_seconds():.0f} seconds. No campaign message is sent until they agree within "
        "five seconds. Set the clocks (NTP).",
        now=clock.now(),
    )


@asynccontextmanager
async def provider_read(deps: Deps) -> AsyncIterator[None]:
    """Wrap a read from the provider in a ``with`` block, and record whether it was answered.

    The result is recorded in the circuit breaker of the provider. If the provider answered that it
    wants a pause, the pause is stored too.

    Raises:
        OpenPhoneDownError: The provider is considered down, so the read is not made.
    """
    circuit = deps.circuit
    if circuit is None:
        yield
        return
    async with deps.new_uow() as uow:
        state = await circuits.read_circuit(uow, circuit)
    if state.is_open:
        raise OpenPhoneDownError(
            "OpenPhone has not answered the last calls, so it is not called. This work continues "
            "when OpenPhone answers a test call."
        )
    try:
        yield
    except OpenPhoneDownError:
        raise  # The provider was not called, so there is nothing to record.
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
    """Wait until the rate limiter of all processes allows a call; return the time after the wait.

    Args:
        now: The clock for the limiter; the clock of the process if None.
    """
    now = now or clock.now
    async with deps.new_uow() as uow:
        starts_at = await deps.limiter.reserve(uow, calls=1, now=now())
    await asyncio.sleep(max(0.0, (starts_at - now()).total_seconds()))
    return now()


async def _note_pause(deps: Deps, error: OpenPhoneBusyError) -> None:
    """If the provider asked for a pause, let no process call it for that time."""
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
