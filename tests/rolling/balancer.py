"""A small load balancer: one connection per request, and only to servers that are ready."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

CHECK_SECONDS = 0.2
"""Seconds between two checks of `/readyz`."""
ANSWER_SECONDS = 120.0
"""Time limit for a response: longer than any response takes on a busy machine. No test here
measures speed."""
_WEBHOOKS = b"/webhooks/"
_GONE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Passed:
    """One request that was passed on. The status 0 means that there was no response."""

    is_webhook: bool
    status: int
    began: float
    seconds: float


@dataclass
class Balancer:
    """Passes each request to the next ready server. No request is repeated."""

    ports: list[int]
    ready: set[int] = field(default_factory=set)
    passed: list[Passed] = field(default_factory=list)
    events: set[str] = field(default_factory=set)
    """Ids of the events whose delivery got a response of success."""
    _turn: int = 0
    _running: Counter[int] = field(default_factory=Counter)
    """For each port, the number of requests to which its server has not responded yet."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def watch(self) -> None:
        """Check repeatedly whether each server is ready."""
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
        """Wait until the server is ready."""
        await self._wait_for(lambda: port in self.ready)

    async def wait_left(self, port: int) -> None:
        """Wait until the server is known not to be ready, and has no open request."""
        await self._wait_for(lambda: port not in self.ready and not self._running[port])

    async def wait_passed(self, count: int) -> None:
        """Wait until ``count`` requests have been passed on since the start."""
        await self._wait_for(lambda: len(self.passed) >= count)

    async def _wait_for(self, holds: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(holds)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request to a server, and the response back."""
        began = time.monotonic()
        # The task is cancelled if the provider still sends events after the end of the test. Nobody
        # needs these events.
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
        """Send a request; return the complete response, or nothing if it is incomplete."""
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
        """Wait until a server is ready, and return the port of the next ready server.

        The number of open requests of this server is increased.
        """
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
    """Listen at ``port``, and distribute the requests to the servers at ``ports``."""
    balancer = Balancer(ports)
    watching = asyncio.create_task(balancer.watch())
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", port)
    try:
        async with server:
            yield balancer
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
