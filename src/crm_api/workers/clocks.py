"""Whether this machine's clock can be trusted: nothing is sent or concluded by a wrong one."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends.dispatch import MAX_SKEW
from crm_api.workers.deps import Deps

LOOK_SECONDS = 1.0


async def agrees(deps: Deps) -> bool:
    """Compare this machine's clock with the database's; raises an alert when they differ."""
    async with deps.new_uow() as uow:
        skew = await operations.clock_skew(uow, now=clock.wall_now())
        if abs(skew) <= MAX_SKEW:
            return True
        await raise_skew(uow, of="database", skew=skew)
    return False


def _ahead() -> float:
    """Return by how many seconds the time of day is ahead of the time since the start."""
    return time.time() - time.monotonic()


async def until_set(
    read: Callable[[], float] = _ahead, *, look_seconds: float = LOOK_SECONDS
) -> None:
    """Return once this machine's clock was set, forward or back, by more than may be between two.

    Whoever planned by the time that was would wait for the hour that it showed.
    """
    begun = read()
    while abs(read() - begun) <= MAX_SKEW.total_seconds():  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(look_seconds)


async def raise_skew(uow: UnitOfWork, *, of: str, skew: timedelta) -> None:
    """Alert that the clock of this machine and another one differ."""
    await operations.raise_alert(
        uow,
        kind=AlertKind.CLOCK_SKEW,
        subject=of,
        detail=f"This worker's clock and the {of}'s differ by {skew.total_seconds():.0f} seconds; "
        "nothing is sent until they agree within five. Set the clocks (NTP).",
        now=clock.now(),
    )
