"""Deliver signed events to the registered webhooks, with the same retries as the provider."""

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import uuid4

import aiohttp
import orjson

from crm_api.dev.sandbox.config import Post, SandboxConfig, SigningScheme
from crm_api.dev.sandbox.events import SandboxEvent
from crm_api.dev.sandbox.timeline import Timeline
from crm_api.domain.provider.openphone.signature import sign_legacy, sign_standard

_logger = logging.getLogger(__name__)

LOG_LENGTH = 20_000
RETRY_AFTER_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""Seconds between the eight attempts to deliver an event.

Source: Quo, "Webhooks overview", read 2026-11-24.
"""


@dataclass(kw_only=True)
class Hook:
    """One registered webhook."""

    id: str
    url: str
    key: str
    scheme: SigningScheme
    events: frozenset[str] | None = None
    """The event types that are sent to this webhook; None for all event types."""
    resource_ids: frozenset[str] | None = None
    """The ids of the phone lines whose events are sent to this webhook; None for all phone
    lines."""
    label: str | None = None
    status: str = "enabled"
    created_at: datetime
    updated_at: datetime | None = None

    @property
    def is_dated(self) -> bool:
        """True if the webhook can get events in the format of API version 2026-03-30."""
        return self.scheme is not SigningScheme.LEGACY

    def wants(self, event: SandboxEvent) -> bool:
        """Return True if the webhook is enabled and subscribes to the event.

        A webhook of the legacy (older) format gets only events that exist in this format.
        """
        return (
            self.status == "enabled"
            and (self.events is None or event.type in self.events)
            and (self.resource_ids is None or event.phone_number_id in self.resource_ids)
            and (self.scheme is not SigningScheme.LEGACY or event.legacy is not None)
        )


@dataclass
class DeliveryCounts:
    """Numbers of deliveries by status, and the number of failed attempts.

    ``pending`` also counts the deliveries with the status ``sending``.
    """

    ok: int = 0
    failed: int = 0
    pending: int = 0
    attempts_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to deliver an event; ``response_status`` is 0 if there was no response."""

    id: str
    at: datetime
    response_status: int
    duration_ms: int
    trigger: str
    url: str

    @property
    def is_ok(self) -> bool:
        """True if the response had a 2xx status, which ends the delivery."""
        return 200 <= self.response_status < 300  # noqa: PLR2004 - as it says


@dataclass(kw_only=True)
class Delivery:
    """The delivery of one event to one webhook.

    Attributes:
        scheme: Format and signature of the request.
        event_id: Id of the event in the delivery log; None for a sample event. The real provider
            gives sample events no id either.
        resource_id: Id of the message or call; None for a sample event.
        first_at: When the delivery was created. Later attempts do not change this time.
        attempts: All attempts so far, oldest first.
        is_given_up: True if all scheduled attempts have failed.
        is_manual: True if the next attempt was requested over the API.
    """

    hook: Hook
    scheme: SigningScheme
    event_type: str
    event_id: str | None
    resource_id: str | None
    body: bytes
    first_at: datetime
    id: str = field(default_factory=lambda: "msg_" + uuid4().hex[:27])
    attempts: list[Attempt] = field(default_factory=list)
    is_given_up: bool = False
    is_manual: bool = False

    @property
    def status(self) -> str:
        """Status in the provider's delivery log: success, failed, sending or pending.

        Before the first attempt has ended, the status is ``pending``. If an attempt has failed and
        others will follow, the status is ``sending``.
        """
        if any(attempt.is_ok for attempt in self.attempts):
            return "success"
        if self.is_given_up:
            return "failed"
        return "sending" if self.attempts else "pending"


class Deliverer:
    """Delivers events to webhooks, with a limited number of requests at the same time.

    The first event starts the background tasks.
    """

    def __init__(self, config: SandboxConfig, timeline: Timeline) -> None:
        self.hooks: dict[str, Hook] = {}
        self.log: OrderedDict[str, Delivery] = OrderedDict()
        """The last ``LOG_LENGTH`` deliveries by id, oldest first."""
        self.counts = DeliveryCounts()
        self._config = config
        self._timeline = timeline
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._post: Post = config.post or self._post_over_http
        self._alternations = 0
        self._under_way = 0

    @property
    def is_busy(self) -> bool:
        """True while an attempt is queued or running; retries that are planned do not count."""
        return not self._queue.empty() or self._under_way > 0

    def emit(self, event: SandboxEvent) -> None:
        """Queue a delivery of the event to each webhook that subscribes to it."""
        for hook in self.hooks.values():
            if hook.wants(event):
                self._dispatch(self._delivery(hook, event))

    def emit_sample(self, hook: Hook, event: SandboxEvent) -> None:
        """Queue a sample event for one webhook, even if the webhook does not subscribe to it."""
        delivery = self._delivery(hook, event)
        delivery.event_id = delivery.resource_id = None
        self._dispatch(delivery)

    def retry(self, delivery: Delivery) -> None:
        """Queue one more attempt of a delivery, whatever the status of the delivery is."""
        delivery.is_manual = True
        self._queue.put_nowait(delivery)

    def clear(self) -> None:
        """Delete all queued attempts, the delivery log and the counts of deliveries."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self.log.clear()
        self.counts = DeliveryCounts()

    async def stop(self) -> None:
        """End the background tasks; events that are not delivered yet are lost."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _dispatch(self, delivery: Delivery) -> None:
        self.log[delivery.id] = delivery
        if len(self.log) > LOG_LENGTH:
            self.log.popitem(last=False)
        self._queue.put_nowait(delivery)
        self.counts.pending += 1
        if not self._workers:
            self._workers = [
                asyncio.create_task(self._work()) for _ in range(self._config.webhook_concurrency)
            ]

    def _delivery(self, hook: Hook, event: SandboxEvent) -> Delivery:
        scheme = hook.scheme
        if scheme is SigningScheme.ALTERNATING:
            self._alternations += 1
            is_legacy = event.legacy is not None and self._alternations % 2 == 0
            scheme = SigningScheme.LEGACY if is_legacy else SigningScheme.STANDARD
        payload = event.legacy if scheme is SigningScheme.LEGACY else event.dated
        resource = event.dated["data"]["resource"]
        return Delivery(
            hook=hook,
            scheme=scheme,
            event_type=event.type,
            event_id=event.dated["id"],
            resource_id=resource.get("callId") or resource.get("id"),
            body=orjson.dumps(payload),
            first_at=self._config.clock(),
        )

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            self._under_way += 1
            counts = self.counts
            trigger, delivery.is_manual = "manual" if delivery.is_manual else "scheduled", False
            at, began, status = self._config.clock(), time.monotonic(), 0
            url = delivery.hook.url
            try:
                status = await self._post(url, delivery.body, self._headers(delivery))
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            except Exception:
                _logger.exception("sandbox webhook delivery failed")
            attempt = Attempt(
                id="att_" + uuid4().hex[:12],
                at=at,
                response_status=status,
                duration_ms=int((time.monotonic() - began) * 1000),
                trigger=trigger,
                url=url,
            )
            self._settle(delivery, attempt, counts)
            self._under_way -= 1

    def _settle(self, delivery: Delivery, attempt: Attempt, counts: DeliveryCounts) -> None:
        if counts is not self.counts:
            # The delivery and its counts were deleted during this attempt.
            return
        was = delivery.status
        delivery.attempts.append(attempt)
        if was in {"success", "failed"}:
            # The delivery had already ended. A manual attempt changes the counts only if the
            # delivery had failed and this attempt succeeds.
            counts.ok += attempt.is_ok and was == "failed"
            counts.failed -= attempt.is_ok and was == "failed"
            return
        if attempt.is_ok:
            counts.ok += 1
            counts.pending -= 1
            return
        counts.attempts_failed += 1
        if attempt.trigger == "manual":
            # A failed manual attempt changes nothing else. The scheduled attempts continue.
            return
        scheduled = sum(one.trigger == "scheduled" for one in delivery.attempts)
        if scheduled > len(RETRY_AFTER_SECONDS):
            delivery.is_given_up = True
            counts.failed += 1
            counts.pending -= 1
            return
        delay = RETRY_AFTER_SECONDS[scheduled - 1] * self._config.time_scale
        self._timeline.after(delay, partial(self._queue_again, delivery, counts))

    def _queue_again(self, delivery: Delivery, counts: DeliveryCounts) -> None:
        if counts is self.counts and delivery.status == "sending":
            self._queue.put_nowait(delivery)

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        key = delivery.hook.key
        if delivery.scheme is SigningScheme.LEGACY:
            # All attempts have the timestamp of the first attempt, because the provider may do the
            # same.
            return headers | sign_legacy(key, delivery.body, at=delivery.first_at)
        now = self._config.clock()
        return headers | sign_standard(key, delivery.body, delivery_id=delivery.id, at=now)

    async def _post_over_http(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._config.webhook_timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status
