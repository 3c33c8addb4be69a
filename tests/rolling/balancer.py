"""A small load balancer: one connection to a server for each request, and only to ready ones."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

CHECK_SECONDS = 0.2
"""Between two looks at `/readyz`; what is drained for is several of them."""
ANSWER_SECONDS = 30.0
_WEBHOOKS = b"/webhooks/"
_GONE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Passed:
    """One request that went through; status 0 where there was no answer."""

    is_webhook: bool
    status: int
    began: float
    seconds: float


@dataclass
class Balancer:
    """Passes each request to the next server that is ready, once: nothing is tried again."""

    ports: list[int]
    ready: set[int] = field(default_factory=set)
    passed: list[Passed] = field(default_factory=list)
    events: set[str] = field(default_factory=set)
    """The ids of events whose delivery was answered with success."""
    _turn: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def watch(self) -> None:
        """Ask every server again and again whether it is ready."""
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client, asyncio.TaskGroup() as each:
            for port in self.ports:
                each.create_task(self._watch(client, port))

    async def _watch(self, client: httpx.AsyncClient, port: int) -> None:
        while True:
            is_ready = False
            with suppress(httpx.TransportError):
                is_ready = (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success
            (self.ready.add if is_ready else self.ready.discard)(port)
            async with self._changed:
                self._changed.notify_all()
            await asyncio.sleep(CHECK_SECONDS)

    async def wait_ready(self, port: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: port in self.ready)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its answer back."""
        began = time.monotonic()
        # Cancelled when the test is over and the provider still tells what is of no account.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            answer = await self._ask(head, body)
            status = int(answer.split(b" ", 2)[1]) if answer else 0
            is_webhook = head.split(b" ", 2)[1].startswith(_WEBHOOKS)
            self.passed.append(Passed(is_webhook, status, began, time.monotonic() - began))
            if is_webhook and 200 <= status < 300:
                self.events.add(json.loads(body)["id"])
            writer.write(answer or _GONE)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """Return the whole answer; empty when it does not come whole."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._next())
                writer.write(_closing(head) + body)
                answer = await reader.read(-1)
                writer.close()
        except (OSError, TimeoutError):
            return b""
        top, _, content = answer.partition(b"\r\n\r\n")
        return answer if len(content) >= _length(top) else b""

    def _next(self) -> int:
        """Return the port of the next ready server.

        Raises:
            ConnectionRefusedError: None is.
        """
        ready = sorted(self.ready)
        if not ready:
            raise ConnectionRefusedError
        self._turn += 1
        return ready[self._turn % len(ready)]

    def statuses(self, *, webhooks: bool) -> Counter[int]:
        return Counter(one.status for one in self.passed if one.is_webhook is webhooks)


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
    """Listen at a port and pass what comes to these."""
    balancer = Balancer(ports)
    watching = asyncio.create_task(balancer.watch())
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", port)
    try:
        async with server:
            yield balancer
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
