"""Keeps messages under way: hands the log out, claims, posts, writes down, all side by side.

Each endpoint has a lane: so many calls at once, and a few claimed ahead. One that does not answer
gets two at a time, and what is claimed ahead for it goes back, so that a call that hangs holds
nothing but itself.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from crm_api import clock, failpoints
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.webhook_deliveries import fan_out
from crm_api.domain.webhook_deliveries import service as deliveries
from crm_api.domain.webhook_deliveries.queries import Claimed
from crm_api.domain.webhook_deliveries.schedule import Jitter, Reply, random_fraction
from crm_api.domain.webhook_deliveries.sender import Sender
from crm_api.domain.webhook_deliveries.service import Outcome
from crm_api.domain.webhook_endpoints import health
from crm_api.domain.webhook_endpoints.health import DueEndpoint
from crm_api.domain.webhook_endpoints.secrets import sign

log = structlog.get_logger()

AT_ONCE = 200
"""Calls under way in a process."""
PER_ENDPOINT = 10
AHEAD = 100
"""Claimed for an endpoint that answers: the next ones wait in the process, not in the database."""
FAILING_AT_ONCE = 2
"""Of 50 endpoints that all hang, half of ``AT_ONCE``."""
POLL_SECONDS = 0.5
"""Between two looks at the log, and at what falls due."""
LEASE = timedelta(seconds=60)
LEASE_MARGIN = timedelta(seconds=10)
"""A call begins only if it ends so long before its lease does."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the settings say of delivering.

    Attributes:
        key: Unseals the secrets.
        disable_after: An endpoint that takes nothing for so long is disabled.
        timeout: The longest call.
    """

    key: bytes = field(repr=False)
    disable_after: timedelta
    timeout: timedelta


class Lane:
    """The calls to one endpoint."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(PER_ENDPOINT)
        self.held = 0
        """Claimed and not written down yet."""
        self.is_stuck = False
        """The last call was not answered, or asked to be left alone."""

    def allowance(self, *, is_failing: bool) -> int:
        """Say how many more may be claimed."""
        return max(0, (FAILING_AT_ONCE if is_failing or self.is_stuck else AHEAD) - self.held)

    def note(self, reply: Reply) -> None:
        """Learn from a reply."""
        self.is_stuck = reply.status is None or reply.hold is not None


class Dispatcher:
    """Delivers for the length of ``run``; any number of them work beside each other."""

    def __init__(
        self,
        *,
        new_uow: UnitOfWorkFactory,
        sender: Sender,
        terms: Terms,
        now: Callable[[], datetime],
        jitter: Jitter = random_fraction,
    ) -> None:
        self._new_uow = new_uow
        self._sender = sender
        self._terms = terms
        self._now = now
        self._jitter = jitter
        self._lanes: dict[UUID, Lane] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[Outcome]] = set()
        self._is_ending = asyncio.Event()
        self._looks_at = 0.0

    def stop(self) -> None:
        """Begin nothing more; what is under way ends and is written down."""
        self._is_ending.set()

    async def run(self, *, for_seconds: float, stays: bool = True) -> None:
        """Deliver what there is, and what comes meanwhile.

        Args:
            for_seconds: Then nothing more begins.
            stays: Whether to wait for what comes when all is done.
        """
        ends_at = time.monotonic() + for_seconds
        try:
            while True:
                has_more = False
                if time.monotonic() >= ends_at:
                    self.stop()
                if not self._is_ending.is_set():
                    has_more = await self._hand_out()
                    await self._claim()
                elif not self._under_way:
                    return
                if self._under_way:
                    await self._write_down()
                elif not has_more:
                    if not stays:
                        return
                    await self._rest()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _hand_out(self) -> bool:
        """Hand out a page of the log, if it is time to look; True when there is more."""
        if time.monotonic() < self._looks_at:
            return False
        async with self._new_uow() as uow:
            await uow.commit_each()
            has_news = await fan_out.has_news(uow)
        if has_news:
            async with self._new_uow() as uow:
                page = await fan_out.hand_out(uow, now=self._now())
                await failpoints.reach("webhooks.handed_out")
            if not page.is_last:
                return True
        self._looks_at = time.monotonic() + POLL_SECONDS
        return False

    async def _claim(self) -> None:
        now = self._now()
        async with self._new_uow() as uow:
            due = await health.list_due(uow, key=self._terms.key, now=now)
            allowances = {
                one.id: allowed
                for one in due
                if (allowed := self._lane(one.id).allowance(is_failing=one.is_failing))
            }
            if not allowances:
                return
            claimed = await deliveries.claim(uow, allowances=allowances, lease=LEASE, now=now)
        endpoints = {one.id: one for one in due}
        spare = LEASE - LEASE_MARGIN - self._terms.timeout
        begins_until = time.monotonic() + spare.total_seconds()
        for one in claimed:
            self._lane(one.endpoint_id).held += 1
            sending = self._send(one, endpoints[one.endpoint_id], begins_until=begins_until)
            self._under_way.add(asyncio.create_task(sending))

    def _lane(self, endpoint_id: UUID) -> Lane:
        return self._lanes.setdefault(endpoint_id, Lane())

    async def _send(
        self, claimed: Claimed, endpoint: DueEndpoint, *, begins_until: float
    ) -> Outcome:
        lane = self._lane(endpoint.id)
        was_stuck = lane.is_stuck
        async with lane.turn, self._turn:
            is_late = time.monotonic() > begins_until
            if is_late or self._is_ending.is_set() or (lane.is_stuck and not was_stuck):
                return Outcome(claimed=claimed, reply=None)
            reply = await self._post(claimed, endpoint)
        lane.note(reply)
        return Outcome(claimed=claimed, reply=reply)

    async def _post(self, claimed: Claimed, endpoint: DueEndpoint) -> Reply:
        if not endpoint.signers:
            return Reply(
                error_code="secret_unreadable",
                detail="The secret was sealed under another CRM_SECRET_KEY; rotate it.",
            )
        now = self._now()
        body = deliveries.body_of(claimed)
        # Receivers hold it against their own clocks, wherever the sandbox's time is.
        signed_at = now - clock.ahead()
        headers = sign(endpoint.signers, message_id=str(claimed.id), body=body, now=signed_at)
        try:
            reply = await self._sender.post(endpoint.url, body=body, headers=headers, now=now)
            await failpoints.reach("webhooks.posted")
        except Exception as error:  # one message's fault must not stop its neighbours
            log.exception("webhook not sent", delivery_id=str(claimed.id))
            return Reply(error_code="internal_error", detail=f"It failed: {type(error).__name__}.")
        return reply

    async def _write_down(self) -> None:
        """Wait for a call to end, or until it is time to look for others; write down what ended."""
        done, _ = await asyncio.wait(
            self._under_way, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            return
        outcomes = [task.result() for task in done]
        async with self._new_uow() as uow:
            await deliveries.record(
                uow,
                outcomes,
                disable_after=self._terms.disable_after,
                now=self._now(),
                jitter=self._jitter,
            )
        self._under_way -= done
        for one in outcomes:
            self._lane(one.claimed.endpoint_id).held -= 1

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._is_ending.wait()
        except TimeoutError:
            return
