"""Post signed webhooks over many connections, as fast as the responses arrive.

This is a separate process, so that the load takes no CPU time of the measured process. ``python -m
benchmarks.webhook_load PORT PATH SECONDS NAME CONNECTIONS`` prints the measurements of one round as
JSON.
"""

import asyncio
import gc
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import cast

import uvloop

from crm_api.domain.provider.openphone.signature import sign_legacy

CONNECTIONS = 16
MOST_REQUESTS_PER_SECOND = 15_000
"""Number of requests that are signed before a round, for each of its seconds. A round that needs
more requests ends early."""
SIGNING_KEY = "YSBiZW5jaG1hcmsncyBzaWduaW5nIGtleQ=="


@dataclass(frozen=True, kw_only=True)
class Round:
    """The measurements of one round."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Caller(asyncio.Protocol):
    """One connection that posts requests. It posts each request after the previous response."""

    def __init__(self, requests: Iterator[bytes], until: float, ended: asyncio.Event) -> None:
        self.latencies: list[float] = []
        self.refusal = ""
        self._requests = requests
        self._until = until
        self._ended = ended
        self._sent_at = 0.0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Read a response. Its head and body may arrive separately; the body is a JSON object."""
        self._answer += data
        if not self._answer.startswith(b"HTTP/1.1 200"):
            self.refusal = self._answer.decode(errors="replace")
            self._transport.close()
            return
        if self._answer.endswith(b"}"):
            self.latencies.append(time.perf_counter() - self._sent_at)
            self._answer = b""
            self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        self._sent_at = time.perf_counter()
        if request is None or self._sent_at > self._until:
            self._transport.close()
            return
        self._transport.write(request)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's name
        """End the work of this connection, even if the server has closed it."""
        self._ended.set()


async def load(port: int, path: str, seconds: float, name: str, connections: int) -> Round:
    """Post signed events for ``seconds``, and return how fast the responses arrived."""
    requests = iter(_signed_requests(path, name, count=int(MOST_REQUESTS_PER_SECOND * seconds)))
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    callers, ends = [], []
    for _ in range(connections):
        ended = asyncio.Event()
        _, caller = await loop.create_connection(
            partial(Caller, requests, begun + seconds, ended), "127.0.0.1", port
        )
        callers.append(caller)
        ends.append(ended)
    for ended in ends:
        await ended.wait()
    took = time.perf_counter() - begun
    if refusal := next((caller.refusal for caller in callers if caller.refusal), None):
        raise SystemExit(f"not stored: {refusal}")
    latencies = sorted(one for caller in callers for one in caller.latencies)
    return Round(
        per_second=len(latencies) / took,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
    )


def _signed_requests(path: str, name: str, *, count: int) -> list[bytes]:
    now = datetime.now(UTC)
    return [_signed_request(path, f"{name}{position}", now) for position in range(count)]


def _signed_request(path: str, name: str, now: datetime) -> bytes:
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    body = json.dumps(
        {
            "id": f"EV{digest}",
            "object": "event",
            "apiVersion": "v4",
            "createdAt": now.isoformat(),
            "type": "message.received",
            "data": {
                "object": {
                    "id": f"AC{digest}",
                    "object": "message",
                    "from": "+16175550123",
                    "to": "+16175550100",
                    "direction": "incoming",
                    "text": "Yes, Tuesday at 10 works for me",
                    "media": [],
                    "status": "received",
                    "createdAt": now.isoformat(),
                    "phoneNumberId": "PNd81fYcQ2",
                }
            },
        },
        separators=(",", ":"),
    ).encode()
    headers = {
        "host": "127.0.0.1",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **sign_legacy(SIGNING_KEY, body, at=now),
    }
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


if __name__ == "__main__":
    port, path, seconds, name, connections = sys.argv[1:]
    done = uvloop.run(load(int(port), path, float(seconds), name, int(connections)))
    print(json.dumps(vars(done)))
