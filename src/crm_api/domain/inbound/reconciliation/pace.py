"""Pace the requests: the rate limit is shared with the sends, which go first."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.messaging.sends import provider_pauses
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.platform.database import UnitOfWorkFactory

SLICE_SECONDS = 0.1
"""Time reserved from the limiter at once: a message waits at most this long for it."""
SLICE_CALLS = 500
LOOK_SECONDS = 5.0
"""How often to check whether messages wait to be sent."""
Sleep = Callable[[float], Awaitable[None]]


# A campaign runs, or a message waits to be sent.
MESSAGES_WAIT = text("""
    SELECT EXISTS (SELECT FROM campaign WHERE status = 'running')
        OR EXISTS (SELECT FROM activity WHERE status = 'queued' AND send_after <= :now)
""")


class RequestPace:
    """Reserves request starts from the shared limiter; every second one while messages wait.

    It reserves few starts ahead, and only when they are used up, so a campaign that asks in between
    gets its own at once. While a campaign runs or a message is queued, its starts are at least two
    spacings apart: half of the rate stays free however fast the provider answers.
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
        self._messages_wait = False
        self._looked_at = -LOOK_SECONDS

    async def wait_for_request(self) -> None:
        """Wait until a request may begin.

        Raises:
            OpenPhoneHeldError: The wait would be longer than a job may wait.
        """
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
        share = 2 if self._messages_wait else 1
        self._not_before = starts_at + share * self._limiter.spacing

    async def put_off(self, seconds: float, *, asked_seconds: float | None = None) -> None:
        """Hold back all calls with this key, because the provider asked for a pause.

        Args:
            seconds: How long.
            asked_seconds: What the provider asked for, when that is longer.
        """
        self._left = 0
        async with self._new_uow() as uow:
            await provider_pauses.begin_provider_pause(
                uow,
                self._limiter,
                seconds=seconds,
                asked_seconds=asked_seconds,
                now=self._now(),
            )

    def _is_stale(self) -> bool:
        """Return whether reserved starts are too old; used now, they would form a burst."""
        return self._next is not None and self._now() - self._next > timedelta(seconds=1)

    async def _reserve(self) -> None:
        async with self._new_uow() as uow:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._messages_wait = bool(
                    await uow.session.scalar(MESSAGES_WAIT, {"now": self._now()})
                )
            calls = int(self._limiter.rate_per_second * SLICE_SECONDS)
            self._left = 1 if self._messages_wait else max(1, min(SLICE_CALLS, calls))
            self._next = await self._limiter.reserve(uow, calls=self._left, now=self._now())
