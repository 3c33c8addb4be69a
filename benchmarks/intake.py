"""Webhook intake against its floor: a bare FastAPI route with one HMAC and one raw INSERT.

Both answer the same signed bodies over 16 connections, each in one web process of its own
(uvloop, httptools, the garbage collector set as `crm-api serve` sets it), on the same PostgreSQL
with fsync on. The load comes from a third process. Rounds alternate, and medians are compared, so
that a slow minute of the machine meets both.
"""

import asyncio
import gc
import hashlib
import hmac
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import Response

from crm_api import collector
from crm_api.domain.openphone.signature import LEGACY_HEADER, sign_legacy
from crm_api.embedded import servers
from crm_api.migrate import upgrade

CONNECTIONS = 16
ROUNDS = 5
ROUND_SECONDS = 4.0
WARM_UP_SECONDS = 1.0
MOST_REQUESTS = 60_000
"""Signed before the clock starts; a round that needs more ends early."""
SUBJECT_PORT, FLOOR_PORT = 18471, 18472
SIGNING_KEY = "YSBiZW5jaG1hcmsncyBzaWduaW5nIGtleQ=="
SECRET_KEY = "a benchmark's secret key of 32 characters"  # noqa: S105 - made up
TARGET_RATIO = 0.8
TARGET_P99_MS = 20.0

FLOOR_TABLE = """
    CREATE TABLE floor_event (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        provider_event_id text NOT NULL UNIQUE,
        received_at timestamptz NOT NULL DEFAULT now(),
        payload jsonb NOT NULL
    )
"""
FLOOR_INSERT = """
    INSERT INTO floor_event (provider_event_id, payload) VALUES ($1, $2::text::jsonb)
    ON CONFLICT (provider_event_id) DO NOTHING
"""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one side did in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Run all rounds and print requests per second, ratio and latencies."""
    with (
        tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder)) as urls,
    ):
        assert urls.database_url is not None  # noqa: S101 - both servers were asked for
        asyncio.run(_prepare(urls.database_url))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
            "CRM_DATABASE_URL": urls.database_url,
            "CRM_REDIS_URL": urls.redis_url or "",
            "CRM_DATA_DIR": folder,
            "CRM_SECRET_KEY": SECRET_KEY,
            "CRM_OPENPHONE_WEBHOOK_SECRETS": SIGNING_KEY,
            "CRM_PORT": str(SUBJECT_PORT),
        }
        with (
            _process(["-m", "crm_api.cli", "serve"], environment, port=SUBJECT_PORT),
            _process(["-m", "benchmarks.intake", "floor"], environment, port=FLOOR_PORT),
        ):
            _report(*_alternate())


def _alternate() -> tuple[list[Round], list[Round]]:
    floor, subject = [], []
    for position in range(ROUNDS + 1):
        seconds = ROUND_SECONDS if position else WARM_UP_SECONDS
        below = _load(FLOOR_PORT, "/floor", seconds=seconds, name=f"{position}f")
        ours = _load(SUBJECT_PORT, "/webhooks/openphone", seconds=seconds, name=f"{position}s")
        if position:
            floor.append(below)
            subject.append(ours)
    return floor, subject


def _report(floor: list[Round], subject: list[Round]) -> None:
    print(f"intake, {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND_SECONDS:g} s, medians:")
    for name, rounds in (("floor", floor), ("intake", subject)):
        rate, p50, p99 = (
            statistics.median(getattr(one, what) for one in rounds)
            for what in ("per_second", "p50_ms", "p99_ms")
        )
        print(f"  {name:<8}{rate:>8,.0f} requests/s   p50 {p50:5.2f} ms   p99 {p99:5.2f} ms")
    ratio = statistics.median(
        ours.per_second / below.per_second for ours, below in zip(subject, floor, strict=True)
    )
    p99 = statistics.median(one.p99_ms for one in subject)
    print(f"  ratio {ratio:.2f} (at least {TARGET_RATIO}), p99 {p99:.1f} ms (<= {TARGET_P99_MS:g})")


async def _prepare(database_url: str) -> None:
    await upgrade(database_url)
    connection = await asyncpg.connect(_dsn(database_url))
    await connection.execute(FLOOR_TABLE)
    await connection.close()


def _dsn(database_url: str) -> str:
    return database_url.replace("postgresql+asyncpg://", "postgresql://", 1)


@contextmanager
def _process(arguments: list[str], environment: dict[str, str], *, port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *arguments], env=environment)  # noqa: S603 - ours
    try:
        asyncio.run(_listening(process, port))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def _listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"the web process on port {port} ended with {process.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit(f"the web process on port {port} does not listen")


def _load(port: int, path: str, *, seconds: float, name: str) -> Round:
    arguments = ["-m", "benchmarks.intake", "load", str(port), path, str(seconds), name]
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return Round(**json.loads(done.stdout))


# The floor's web process


def serve_floor() -> None:
    """Run the bare route, until SIGTERM."""
    key = b64decode(SIGNING_KEY)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            _dsn(os.environ["CRM_DATABASE_URL"]),
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            reset=_keep,
        ) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/floor")
    async def receive(request: Request) -> Response:
        body = await request.body()
        _, _, at, digest = request.headers[LEGACY_HEADER].split(";")
        expected = hmac.digest(key, at.encode() + b"." + body, "sha256")
        if not hmac.compare_digest(expected, b64decode(digest)):
            return Response(status_code=401)
        await app.state.pool.execute(FLOOR_INSERT, digest, body.decode())
        return Response(b'{"received":true}', media_type="application/json")

    config = uvicorn.Config(
        app, port=FLOOR_PORT, loop="uvloop", http="httptools", access_log=False, log_config=None
    )
    collector.tune()
    uvicorn.Server(config).run()


async def _keep(_connection: object) -> None:
    """Spare the floor the round trip by which a pool cleans a connection: it is to be fast."""


# The load's process


class Caller(asyncio.Protocol):
    """One connection that posts one request after the other, each after its answer."""

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
        """Take the answer, whose head and body may come apart; each body is a JSON object."""
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
        """End, also when the other side hung up."""
        self._ended.set()


async def load(port: int, path: str, seconds: float, name: str) -> Round:
    """Post signed events for a while and tell how fast they were answered."""
    requests = iter(_signed_requests(path, name, count=int(MOST_REQUESTS * seconds / 4)))
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    callers, ends = [], []
    for _ in range(CONNECTIONS):
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
    match sys.argv[1:]:
        case ["floor"]:
            serve_floor()
        case ["load", port, path, seconds, name]:
            result = uvloop.run(load(int(port), path, float(seconds), name))
            print(json.dumps(vars(result)))
        case _:
            main()
