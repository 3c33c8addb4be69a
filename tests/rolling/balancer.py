"""A small load balancer: one connection to a server per request, and only to ready ones."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

CHECK_SECONDS = 0.2
"""Between two checks of `/readyz`."""
ANSWER_SECONDS = 120.0
"""Longer than any response takes on a busy machine; this measures no speed."""
_WEBHOOKS = b"/webhooks/"
_GONE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Passed:
    """One request that passed; status 0 means no response."""

    is_webhook: bool
    status: int
    began: float
    seconds: float


@dataclass
class Balancer:
    """Passes each request to the next ready server, once: nothing is retried."""

    ports: list[int]
    ready: set[int] = field(default_factory=set)
    passed: list[Passed] = field(default_factory=list)
    events: set[str] = field(default_factory=set)
    """Ids of events whose delivery was answered with success."""
    _turn: int = 0
    _running: Counter[int] = field(default_factory=Counter)
    """Requests that a server has not answered yet, by port."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def watch(self) -> None:
        """Check periodically whether each server is ready."""
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client, asyncio.TaskGroup() as each:
            for port in self.ports:
                each.create_task(self._watch(client, port))

    async def _watch(self, client: httpx.AsyncClient, port: int) -> None:
        while True:
            is_ready = False
            with suppress(httpx.TransportError):
                is_ready = (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success
            (self.ready.add if is_ready else self.ready.discard)(port)
            await self._notify()
            await asyncio.sleep(CHECK_SECONDS)

    async def wait_ready(self, port: int) -> None:
        """Return when the server is ready."""
        await self._wait_for(lambda: port in self.ready)

    async def wait_left(self, port: int) -> None:
        """Return when the server is known not to be ready, and has no open request."""
        await self._wait_for(lambda: port not in self.ready and not self._running[port])

    async def wait_passed(self, count: int) -> None:
        """Return when so many requests have passed since the start."""
        await self._wait_for(lambda: len(self.passed) >= count)

    async def _wait_for(self, holds: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(holds)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its response back."""
        began = time.monotonic()
        # Cancelled when the test is over and the provider still sends events that nobody needs.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            answer = await self._ask(head, body)
            status = int(answer.split(b" ", 2)[1]) if answer else 0
            is_webhook = head.split(b" ", 2)[1].startswith(_WEBHOOKS)
            self.passed.append(Passed(is_webhook, status, began, time.monotonic() - began))
            if is_webhook and 200 <= status < 300:
                self.events.add(json.loads(body)["id"])
            await self._notify()
            writer.write(answer or _GONE)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """Return the complete response; empty if it is incomplete."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                port = await self._next()
                try:
                    answer = await _exchange(port, _closing(head) + body)
                finally:
                    self._running[port] -= 1
                    await self._notify()
        except (OSError, TimeoutError):
            return b""
        top, _, content = answer.partition(b"\r\n\r\n")
        return answer if len(content) >= _length(top) else b""

    async def _next(self) -> int:
        """Wait until a server is ready; count a request for the next one and return its port."""
        await self._wait_for(lambda: bool(self.ready))
        ready = sorted(self.ready)
        self._turn += 1
        port = ready[self._turn % len(ready)]
        self._running[port] += 1
        return port

    def statuses(self, *, webhooks: bool) -> Counter[int]:
        return Counter(one.status for one in self.passed if one.is_webhook is webhooks)


async def _exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read(-1)
    finally:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _closing(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    kept = [line for line in lines[1:] if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([lines[0], b"Connection: close", *kept])


@asynccontextmanager
async def balancing(port: int, ports: list[int]) -> AsyncIterator[Balancer]:
    """Listen at a port and distribute the requests to these ports."""
    balancer = Balancer(ports)
    watching = asyncio.create_task(balancer.watch())
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", port)
    try:
        async with server:
            yield balancer
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
