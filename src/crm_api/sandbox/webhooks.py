"""Hooks, and the delivery of signed events to them, tried again as the provider does."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import aiohttp
import orjson

from crm_api.domain.openphone.signature import sign_legacy, sign_standard
from crm_api.sandbox.config import Post, SandboxConfig, SigningScheme
from crm_api.sandbox.events import SandboxEvent
from crm_api.sandbox.timers import Timers

_logger = logging.getLogger(__name__)

LOG_LENGTH = 20_000
RETRY_AFTER_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""Eight attempts in all. Source: restated from Quo, "Webhooks overview", read 2026-11-24."""


@dataclass(kw_only=True)
class Hook:
    """One registered address."""

    id: str
    url: str
    key: str
    scheme: SigningScheme
    events: frozenset[str] | None = None
    """None is every event."""
    resource_ids: frozenset[str] | None = None
    """None is every line."""
    label: str | None = None
    status: str = "enabled"
    created_at: datetime
    updated_at: datetime | None = None

    @property
    def is_dated(self) -> bool:
        """Say whether the 2026-03-30 interface shows it."""
        return self.scheme is not SigningScheme.LEGACY

    def wants(self, event: SandboxEvent) -> bool:
        """Say whether this hook is told of the event."""
        return (
            self.status == "enabled"
            and (self.events is None or event.type in self.events)
            and (self.resource_ids is None or event.phone_number_id in self.resource_ids)
            and (self.scheme is not SigningScheme.LEGACY or event.legacy is not None)
        )


@dataclass
class DeliveryCounts:
    """How deliveries went; a delivery is pending until a 2xx or its last attempt."""

    ok: int = 0
    failed: int = 0
    pending: int = 0
    attempts_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try to deliver; ``response_status`` 0 is no answer."""

    id: str
    at: datetime
    response_status: int
    duration_ms: int
    trigger: str
    url: str

    @property
    def is_ok(self) -> bool:
        """Any 2xx ends a delivery."""
        return 200 <= self.response_status < 300  # noqa: PLR2004 - as it says


@dataclass(kw_only=True)
class Delivery:
    """One event on its way to one hook.

    Attributes:
        event_id: None for samples, as the provider has it.
        is_given_up: No scheduled attempt is to come.
        is_manual: The next attempt was asked for.
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
        """As the provider's log has it."""
        if any(attempt.is_ok for attempt in self.attempts):
            return "success"
        if self.is_given_up:
            return "failed"
        return "sending" if self.attempts else "pending"


class Deliverer:
    """Sends events out with a bounded number under way; workers start with the first event."""

    def __init__(self, config: SandboxConfig, timers: Timers) -> None:
        self.hooks: dict[str, Hook] = {}
        self.log: OrderedDict[str, Delivery] = OrderedDict()
        """The last deliveries by id, the oldest first."""
        self.counts = DeliveryCounts()
        self._config = config
        self._timers = timers
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._post: Post = config.post or self._post_over_http
        self._turn = 0
        self._under_way = 0

    @property
    def is_busy(self) -> bool:
        """True while something is queued or being delivered; what waits for a time is not."""
        return not self._queue.empty() or self._under_way > 0

    def emit(self, event: SandboxEvent) -> None:
        """Queue the event for each hook that wants it."""
        for hook in self.hooks.values():
            if hook.wants(event):
                self._dispatch(self._delivery(hook, event))

    def emit_sample(self, hook: Hook, event: SandboxEvent) -> None:
        """Queue a sample for one hook; the log ties it to no event."""
        delivery = self._delivery(hook, event)
        delivery.event_id = delivery.resource_id = None
        self._dispatch(delivery)

    def retry(self, delivery: Delivery) -> None:
        """Queue one more attempt, whatever became of those before."""
        delivery.is_manual = True
        self._queue.put_nowait(delivery)

    def forget(self) -> None:
        """Drop what is queued, the log and the counts."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self.log.clear()
        self.counts = DeliveryCounts()

    async def stop(self) -> None:
        """End the workers; what is not delivered is lost."""
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
            self._turn += 1
            is_legacy = event.legacy is not None and self._turn % 2 == 0
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
                _logger.exception("a webhook could not be delivered")
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
            return  # Forgotten meanwhile.
        was = delivery.status
        delivery.attempts.append(attempt)
        if was in {"success", "failed"}:
            # One more, asked for after the end: it is counted anew only if it changes the end.
            counts.ok += attempt.is_ok and was == "failed"
            counts.failed -= attempt.is_ok and was == "failed"
            return
        if attempt.is_ok:
            counts.ok += 1
            counts.pending -= 1
            return
        counts.attempts_failed += 1
        if attempt.trigger == "manual":
            return  # The scheduled ones go on.
        tries = sum(one.trigger == "scheduled" for one in delivery.attempts)
        if tries > len(RETRY_AFTER_SECONDS):
            delivery.is_given_up = True
            counts.failed += 1
            counts.pending -= 1
            return
        delay = RETRY_AFTER_SECONDS[tries - 1] * self._config.time_scale
        self._timers.after(delay, self._again(delivery, counts))

    def _again(self, delivery: Delivery, counts: DeliveryCounts) -> Callable[[], None]:
        def queue_again() -> None:
            if counts is self.counts and delivery.status == "sending":
                self._queue.put_nowait(delivery)

        return queue_again

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        key = delivery.hook.key
        if delivery.scheme is SigningScheme.LEGACY:
            # Retries keep the first timestamp: the harder of the two ways that it may be.
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
