"""A sandbox in the test's own process, and a receiver that stores its webhook deliveries.

The sandbox has no port and no waiting times.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson

from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.provider.openphone.client import OpenPhoneClient

PERSON = "+16175550123"
OTHER = "+16175550147"
OURS = "+16175550100"
LINE = "PNsandbox1"
NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
URL = "http://sandbox.test"


@dataclass
class Delivery:
    """One webhook delivery, as the receiver got it."""

    body: bytes
    headers: dict[str, str]

    @property
    def event(self) -> dict[str, Any]:
        read: dict[str, Any] = orjson.loads(self.body)
        return read


@dataclass
class Receiver:
    """Responds to webhooks with the given statuses, then with 200.

    If a status is None, the receiver does not respond, and the connection fails.
    """

    statuses: list[int | None] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        assert url == "http://receiver.test/hook"
        self.deliveries.append(Delivery(body, headers))
        self._arrived.set()
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            raise ConnectionError
        return status

    async def wait_for(self, count: int) -> list[Delivery]:
        """Wait until ``count`` deliveries have arrived; wait at most 30 seconds."""
        async with asyncio.timeout(30):
            while len(self.deliveries) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.deliveries

    def types(self) -> list[str]:
        return [delivery.event["type"] for delivery in self.deliveries]


class ManualClock:
    """A clock for the sandbox.

    It moves when ``move`` is called, and by ``step`` seconds when read.
    """

    def __init__(self, *, step: float = 0.0) -> None:
        self.now = NOW
        self._step = step

    def __call__(self) -> datetime:
        self.move(self._step)
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class LocalSandbox:
    """The sandbox, its client and the receiver of its webhooks."""

    app: Sandbox
    http: httpx.AsyncClient
    receiver: Receiver

    async def send(self, to: str = PERSON, text: str = "Hi", **fields: object) -> httpx.Response:
        body = {"content": text, "from": LINE, "to": [to], **fields}
        return await self.http.post("/v1/messages", json=body)

    async def control(self, path: str, body: object = None) -> Any:
        answer = await self.http.post(f"/sandbox{path}", json=body or {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def stats(self) -> Any:
        return (await self.http.get("/sandbox/stats")).json()

    def client(self) -> OpenPhoneClient:
        return OpenPhoneClient(base_url=URL, api_key="key", transport=httpx.ASGITransport(self.app))


@contextlib.asynccontextmanager
async def open_sandbox(
    config: SandboxConfig | None = None, *, statuses: list[int | None] | None = None
) -> AsyncIterator[LocalSandbox]:
    """Open a sandbox without waiting times.

    By default, people do nothing after a message ("silent"), and there is no rate limit.
    """
    receiver = Receiver(statuses or [])
    config = config or SandboxConfig(people="silent")
    config = replace(
        config,
        webhook_url="http://receiver.test/hook",
        post=receiver.post,
        time_scale=0.0,
        rate_per_second=config.rate_per_second if config.rate_per_second != 10 else None,
    )
    app = create_sandbox(config)
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=URL, headers={"authorization": "key"}
    )
    async with http:
        yield LocalSandbox(app, http, receiver)
    await app.workspace.stop()
