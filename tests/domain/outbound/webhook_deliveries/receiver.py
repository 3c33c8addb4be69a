"""A receiver of webhooks on loopback: it stores its requests, and returns the test's responses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook


@dataclass(frozen=True)
class ReceivedDelivery:
    """One delivery of a webhook, as the receiver got it."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload

    @property
    def signatures(self) -> list[str]:
        return self.headers["webhook-signature"].split(" ")

    def verify(self, secret: str) -> Any:
        """Verify the signature with the library for receivers; raise if it does not match."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Server that sends the responses of each path in order and repeats the last; default: 204."""

    port: int = 0
    received: list[ReceivedDelivery] = field(default_factory=list)
    responses: dict[str, list[web.Response]] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    """Paths whose requests never get a response."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: dict[str, int] = field(default_factory=dict)
    _under_way: dict[str, int] = field(default_factory=dict)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def deliveries_to(self, path: str = "/hook") -> list[ReceivedDelivery]:
        return [one for one in self.received if one.path == path]

    def answer(self, *statuses: int, path: str = "/hook", **options: Any) -> None:
        self.responses[path] = [web.Response(status=status, **options) for status in statuses]

    async def wait_for(self, count: int, path: str = "/hook") -> None:
        """Wait until ``count`` deliveries were received, ten seconds at most."""
        async with asyncio.timeout(10):
            while len(self.deliveries_to(path)) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(
            ReceivedDelivery(path=path, headers=headers, body=await request.text())
        )
        self.arrived.set()
        self._under_way[path] = self._under_way.get(path, 0) + 1
        self.most_at_once[path] = max(self.most_at_once.get(path, 0), self._under_way[path])
        try:
            if path in self.hanging:
                await asyncio.Event().wait()
            # Let other requests begin here, so that concurrent requests are counted.
            await asyncio.sleep(0)
        finally:
            self._under_way[path] -= 1
        responses = self.responses.get(path) or [web.Response(status=204)]
        chosen = responses.pop(0) if len(responses) > 1 else responses[0]
        return web.Response(status=chosen.status, headers=chosen.headers, body=chosen.body)


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
