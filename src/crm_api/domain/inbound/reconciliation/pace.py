"""Limit the rate of reconciliation requests.

Requests that send messages share the same rate limit, and go first.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.messaging.sends import provider_pauses
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.platform.database import UnitOfWorkFactory

SLICE_SECONDS = 0.1
"""Length of one reservation, in seconds. While no message waits to be sent, reconciliation reserves
all requests that the rate limit allows in this time. A message that is queued after the reservation
waits at most this long for the reserved requests."""
SLICE_CALLS = 500
LOOK_SECONDS = 5.0
"""Minimum time in seconds between two queries that find out whether messages wait to be sent."""
Sleep = Callable[[float], Awaitable[None]]


# True if a campaign is running or a message waits to be sent.
MESSAGES_WAIT = text("""
    SELECT EXISTS (SELECT FROM campaign WHERE status = 'running')
        OR EXISTS (SELECT FROM activity WHERE status = 'queued' AND send_after <= :now)
""")


class RequestPace:
    """Decides when each reconciliation request may start, within the shared rate limit.

    Requests that send messages share this limit. So only a few start times are reserved in advance.
    While a campaign runs or a message is queued, reconciliation uses at most half of the rate.
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
        self._turn = asyncio.Lock()

    async def wait_for_request(self) -> None:
        """Wait until the next reconciliation request to the provider may begin.

        Several tasks may wait at the same time. They continue one after the other.

        Raises:
            OpenPhoneHeldError: The wait would be too long. Requests may begin again at ``until`` of
                the error.
        """
        async with self._turn:
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

    async def pause_calls(self, seconds: float, *, asked_seconds: float | None = None) -> None:
        """Pause all requests with this API key, because the provider asked for a pause.

        Args:
            seconds: The length of the pause.
            asked_seconds: The length that the provider asked for, if it is longer than ``seconds``;
                otherwise None. If ``asked_seconds`` is given, an alert is raised.
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
        """Return whether the next reserved start time is more than 1 s in the past.

        Requests with such old start times would begin without a wait, all at the same time.
        """
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
