"""Hooks, and the delivery of signed events to them, tried again as the provider does."""

import asyncio
import logging
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


@dataclass(kw_only=True)
class _Delivery:
    hook: Hook
    scheme: SigningScheme
    body: bytes
    first_at: datetime
    id: str = field(default_factory=lambda: "msg_" + uuid4().hex[:27])
    attempts: int = 0


class Deliverer:
    """Sends events out with a bounded number under way; workers start with the first event."""

    def __init__(self, config: SandboxConfig, timers: Timers) -> None:
        self.hooks: dict[str, Hook] = {}
        self.counts = DeliveryCounts()
        self._config = config
        self._timers = timers
        self._queue: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._post: Post = config.post or self._post_over_http
        self._turn = 0

    def emit(self, event: SandboxEvent) -> None:
        """Queue the event for each hook that wants it."""
        for hook in self.hooks.values():
            if hook.wants(event):
                self._queue.put_nowait(self._delivery(hook, event))
                self.counts.pending += 1
        if not self._workers and not self._queue.empty():
            self._workers = [
                asyncio.create_task(self._work()) for _ in range(self._config.webhook_concurrency)
            ]

    def forget(self) -> None:
        """Drop what is queued and the counts."""
        while not self._queue.empty():
            self._queue.get_nowait()
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

    def _delivery(self, hook: Hook, event: SandboxEvent) -> _Delivery:
        scheme = hook.scheme
        if scheme is SigningScheme.ALTERNATING:
            self._turn += 1
            is_legacy = event.legacy is not None and self._turn % 2 == 0
            scheme = SigningScheme.LEGACY if is_legacy else SigningScheme.STANDARD
        payload = event.legacy if scheme is SigningScheme.LEGACY else event.dated
        return _Delivery(
            hook=hook, scheme=scheme, body=orjson.dumps(payload), first_at=self._config.clock()
        )

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            counts = self.counts
            try:
                status = await self._post(delivery.hook.url, delivery.body, self._headers(delivery))
                is_ok = 200 <= status < 300  # noqa: PLR2004 - any 2xx ends a delivery
            except (aiohttp.ClientError, OSError, TimeoutError):
                is_ok = False
            except Exception:
                _logger.exception("a webhook could not be delivered")
                is_ok = False
            self._settle(delivery, counts, is_ok=is_ok)

    def _settle(self, delivery: _Delivery, counts: DeliveryCounts, *, is_ok: bool) -> None:
        if counts is not self.counts:
            return  # Forgotten meanwhile.
        if is_ok:
            counts.ok += 1
            counts.pending -= 1
            return
        counts.attempts_failed += 1
        if delivery.attempts >= len(RETRY_AFTER_SECONDS):
            counts.failed += 1
            counts.pending -= 1
            return
        delay = RETRY_AFTER_SECONDS[delivery.attempts] * self._config.time_scale
        delivery.attempts += 1
        self._timers.after(delay, self._again(delivery, counts))

    def _again(self, delivery: _Delivery, counts: DeliveryCounts) -> Callable[[], None]:
        def queue_again() -> None:
            if counts is self.counts:
                self._queue.put_nowait(delivery)

        return queue_again

    def _headers(self, delivery: _Delivery) -> dict[str, str]:
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
