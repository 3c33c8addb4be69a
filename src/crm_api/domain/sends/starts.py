"""When calls may start: taken from the limiter in slices, handed out gate by gate."""

from datetime import datetime, timedelta

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.sends.limiter import Limiter

SLICE_SECONDS = 0.1
SLICE_CALLS = 500
"""The limiter is asked for this much at once, so that a fast line asks seldom."""
STALE_AFTER = timedelta(seconds=1)
"""Starts that were not used in time are forgotten, or they would leave in one burst."""


class Starts:
    """The start times of one run.

    Args:
        limiter: Shared by all workers of a key.
        gate_size: Calls of a gate at most; a slice is never smaller.
    """

    def __init__(self, limiter: Limiter, gate_size: int) -> None:
        self._limiter = limiter
        slice_size = int(limiter.rate_per_second * SLICE_SECONDS)
        self._slice = max(gate_size, min(SLICE_CALLS, slice_size))
        self._left = 0
        self._next: datetime | None = None

    async def take(self, size: int, *, new_uow: UnitOfWorkFactory, now: datetime) -> datetime:
        """Return when the first of ``size`` calls may start."""
        is_stale = self._next is None or now - self._next > STALE_AFTER
        if self._left < size or is_stale:
            async with new_uow() as uow:
                self._next = await self._limiter.reserve(uow, calls=self._slice, now=now)
            self._left = self._slice
        starts_at = self._next or now
        self._left -= size
        self._next = starts_at + size * self._limiter.spacing
        return starts_at
