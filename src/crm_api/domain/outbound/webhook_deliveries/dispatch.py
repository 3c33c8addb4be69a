"""Create deliveries from the event log, reserve and post them, and store the results.

In each process, each endpoint has limits for its concurrent requests and its reserved deliveries.
While an endpoint does not respond, only two of its deliveries stay reserved, so it does not delay
other endpoints.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from crm_api.domain.outbound.webhook_deliveries import attempts, fan_out
from crm_api.domain.outbound.webhook_deliveries.attempts import ClaimedDelivery, DeliveryResult
from crm_api.domain.outbound.webhook_deliveries.schedule import (
    EndpointResponse,
    Jitter,
    random_fraction,
)
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.domain.outbound.webhook_endpoints import health
from crm_api.domain.outbound.webhook_endpoints.health import DueEndpoint
from crm_api.domain.outbound.webhook_endpoints.secrets import sign
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()

AT_ONCE = 200
"""Maximum number of concurrent requests per process."""
PER_ENDPOINT = 10
"""Maximum number of concurrent requests to one endpoint."""
AHEAD = 100
"""Maximum number of reserved deliveries of an endpoint that responds; they wait in memory."""
FAILING_AT_ONCE = 2
"""Maximum number of reserved deliveries of an endpoint that fails. Even if all 50 endpoints hang,
they use only half of ``AT_ONCE``."""
POLL_SECONDS = 0.5
"""Seconds between two reads of the event log and of due deliveries."""
LEASE = timedelta(seconds=60)
LEASE_MARGIN = timedelta(seconds=10)
"""The smallest time between the latest end of a request and the end of the lease. A request that
cannot keep this distance does not begin."""


@dataclass(frozen=True, kw_only=True)
class DispatchTerms:
    """Settings for deliveries.

    Attributes:
        key: The key that decrypts the signing secrets.
        disable_after: How long an endpoint may fail without any success before it is disabled.
        timeout: Time limit of one request.
    """

    key: bytes = field(repr=False)
    disable_after: timedelta
    timeout: timedelta


class EndpointQueue:
    """State of one endpoint: its requests, its reserved deliveries, and whether it responds."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(PER_ENDPOINT)
        self.held = 0
        """Number of reserved deliveries whose result is not stored yet."""
        self.is_stuck = False
        """Whether the last request got no response, or a response that asked for a pause."""

    def allowance(self, *, is_failing: bool) -> int:
        """Return how many more deliveries of this endpoint may be reserved.

        If the endpoint fails (``is_failing``) or does not respond, the limit is lower.
        """
        return max(0, (FAILING_AT_ONCE if is_failing or self.is_stuck else AHEAD) - self.held)

    def note(self, reply: EndpointResponse) -> None:
        """Set the field ``is_stuck`` from the result of a request to the endpoint.

        The field becomes True if the endpoint did not respond or asked for a pause. After any other
        response, it becomes False.
        """
        self.is_stuck = reply.status is None or reply.pause is not None


class WebhookDispatcher:
    """Sends deliveries while its method ``run`` is active.

    Several dispatchers can work at the same time.
    """

    def __init__(
        self,
        *,
        new_uow: UnitOfWorkFactory,
        sender: WebhookSender,
        terms: DispatchTerms,
        now: Callable[[], datetime],
        jitter: Jitter = random_fraction,
    ) -> None:
        self._new_uow = new_uow
        self._sender = sender
        self._terms = terms
        self._now = now
        self._jitter = jitter
        self._queues: dict[UUID, EndpointQueue] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[DeliveryResult]] = set()
        self._is_ending = asyncio.Event()
        self._looks_at = 0.0

    def stop(self) -> None:
        """Begin no more requests; let running requests end, and store their results."""
        self._is_ending.set()

    async def run(self, *, for_seconds: float, stays: bool = True) -> None:
        """Send due deliveries until the time is up or ``stop`` is called.

        Deliveries that become due while this function runs are sent too.

        Args:
            for_seconds: Number of seconds after which no more requests begin.
            stays: If True, wait for further deliveries when none is due. If False, return when no
                delivery is due.
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
        """Create deliveries from one page of the event log, if the next read of the log is due.

        Return True if the log has more events to read now.
        """
        if time.monotonic() < self._looks_at:
            return False
        async with self._new_uow() as uow:
            await uow.commit_each()
            has_news = await fan_out.has_new_events(uow)
        if has_news:
            async with self._new_uow() as uow:
                page = await fan_out.fan_out_page(uow, now=self._now())
                await failpoints.reach("webhooks.handed_out")
            if not page.is_last:
                return True
        self._looks_at = time.monotonic() + POLL_SECONDS
        return False

    async def _claim(self) -> None:
        now = self._now()
        async with self._new_uow() as uow:
            due = await health.list_due_endpoints(uow, key=self._terms.key, now=now)
            allowances = {
                one.id: allowed
                for one in due
                if (allowed := self._queue_of(one.id).allowance(is_failing=one.is_failing))
            }
            if not allowances:
                return
            claimed = await attempts.claim_deliveries(
                uow, allowances=allowances, lease=LEASE, now=now
            )
            readers = {one.id for one in due if one.reads_messages}
            claimed = await attempts.add_message_details(uow, claimed, readers=readers)
        endpoints = {one.id: one for one in due}
        spare = LEASE - LEASE_MARGIN - self._terms.timeout
        begins_until = time.monotonic() + spare.total_seconds()
        for one in claimed:
            self._queue_of(one.endpoint_id).held += 1
            sending = self._send(one, endpoints[one.endpoint_id], begins_until=begins_until)
            self._under_way.add(asyncio.create_task(sending))

    def _queue_of(self, endpoint_id: UUID) -> EndpointQueue:
        return self._queues.setdefault(endpoint_id, EndpointQueue())

    async def _send(
        self, claimed: ClaimedDelivery, endpoint: DueEndpoint, *, begins_until: float
    ) -> DeliveryResult:
        queue = self._queue_of(endpoint.id)
        was_stuck = queue.is_stuck
        async with queue.turn, self._turn:
            is_late = time.monotonic() > begins_until
            if is_late or self._is_ending.is_set() or (queue.is_stuck and not was_stuck):
                return DeliveryResult(claimed=claimed, reply=None)
            reply = await self._post(claimed, endpoint)
        queue.note(reply)
        return DeliveryResult(claimed=claimed, reply=reply)

    async def _post(self, claimed: ClaimedDelivery, endpoint: DueEndpoint) -> EndpointResponse:
        if not endpoint.signers:
            return EndpointResponse(
                error_code="secret_unreadable",
                detail="The secret of the endpoint cannot be decrypted with this CRM_SECRET_KEY. "
                "Rotate the secret.",
            )
        now = self._now()
        body = attempts.body_of(claimed)
        # Receivers compare this time with their own clocks. So it must be the real time, and not
        # the sandbox time, which may be ahead.
        signed_at = now - clock.ahead()
        headers = sign(endpoint.signers, message_id=str(claimed.id), body=body, now=signed_at)
        try:
            reply = await self._sender.post(endpoint.url, body=body, headers=headers, now=now)
            await failpoints.reach("webhooks.posted")
        except Exception as error:  # one delivery's error must not stop the others
            log.exception(
                "internal error while sending to webhook endpoint", delivery_id=str(claimed.id)
            )
            return EndpointResponse(
                error_code="internal_error",
                detail=f"An internal error occurred ({type(error).__name__}).",
            )
        return reply

    async def _write_down(self) -> None:
        """Wait until a request ends, at most ``POLL_SECONDS``; store results of ended requests."""
        done, _ = await asyncio.wait(
            self._under_way, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            return
        outcomes = [task.result() for task in done]
        async with self._new_uow() as uow:
            await attempts.record_results(
                uow,
                outcomes,
                disable_after=self._terms.disable_after,
                now=self._now(),
                jitter=self._jitter,
            )
        self._under_way -= done
        for one in outcomes:
            self._queue_of(one.claimed.endpoint_id).held -= 1

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._is_ending.wait()
        except TimeoutError:
            return
