"""When the next request may begin: the rate is shared with the sends, which come first."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.reconciliation import queries
from crm_api.domain.sends.limiter import Limiter

SLICE_SECONDS = 0.1
"""The limiter is asked for this much at once: a text waits no longer for what is taken ahead."""
SLICE_CALLS = 500
LOOK_SECONDS = 5.0
"""How often it is asked whether texts wait."""
Sleep = Callable[[float], Awaitable[None]]


class Turns:
    """Takes its starts from the shared limiter; at most every second one while texts wait.

    It asks for few starts ahead and only when they are used up, so a campaign that asks in
    between gets its own at once. While a campaign runs, or a text is queued, its own starts lie
    at least two spacings apart: half of the rate is left however fast the provider answers.
    """

    def __init__(
        self,
        *,
        limiter: Limiter,
        new_uow: UnitOfWorkFactory,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._limiter = limiter
        self._new_uow = new_uow
        self._now = now
        self._sleep = sleep
        self._left = 0
        self._next: datetime | None = None
        self._not_before: datetime | None = None
        self._texts_wait = False
        self._looked_at = -LOOK_SECONDS

    async def take(self) -> None:
        """Return when a request may begin."""
        if not self._left or self._is_stale():
            await self._reserve()
        starts_at = self._next or self._now()
        if self._not_before is not None:
            starts_at = max(starts_at, self._not_before)
        self._left -= 1
        self._next = starts_at + self._limiter.spacing
        wait = (starts_at - self._now()).total_seconds()
        if wait > 0:
            await self._sleep(wait)
        share = 2 if self._texts_wait else 1
        self._not_before = starts_at + share * self._limiter.spacing

    async def put_off(self, seconds: float) -> None:
        """Let nobody start before the provider wants it: it asked for a pause."""
        self._left = 0
        async with self._new_uow() as uow:
            await self._limiter.delay(uow, until=self._now() + timedelta(seconds=seconds))

    def _is_stale(self) -> bool:
        """Starts that were not used in time are forgotten, or they would leave in one burst."""
        return self._next is not None and self._now() - self._next > timedelta(seconds=1)

    async def _reserve(self) -> None:
        async with self._new_uow() as uow:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._texts_wait = await queries.texts_wait(uow.session, now=self._now())
            calls = int(self._limiter.rate_per_second * SLICE_SECONDS)
            self._left = 1 if self._texts_wait else max(1, min(SLICE_CALLS, calls))
            self._next = await self._limiter.reserve(uow, calls=self._left, now=self._now())
