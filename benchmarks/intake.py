"""Measure the webhook receiver against a floor: a bare FastAPI route with one HMAC and one INSERT.

Both answer the same signed requests over 16 connections, each in its own web process (uvloop,
httptools, the garbage collection of `crm-api serve`), with the same PostgreSQL with fsync on. A
third process sends the requests. Rounds of both alternate, and the medians are compared, so that
both meet the same load of the machine.
"""

import asyncio
import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from benchmarks.web import listening
from benchmarks.webhook_load import CONNECTIONS, SIGNING_KEY, Round
from crm_api.dev.embedded_servers import servers
from crm_api.domain.provider.openphone.signature import LEGACY_HEADER
from crm_api.platform import lifetimes
from crm_api.platform.migration_runner import upgrade

ROUNDS = 5
ROUND_SECONDS = 4.0
WARM_UP_SECONDS = 1.0
SUBJECT_PORT, FLOOR_PORT = 18471, 18472
SECRET_KEY = "a benchmark's secret key of 32 characters"  # noqa: S105 - made up
TARGET_RATIO = 1.2
TARGET_P99_MS = 15.0
MANY = 64
TARGET_WITH_MANY = 0.9
"""Lowest accepted rate with many connections, as a share of the rate with 16 connections."""

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


def main() -> None:
    """Run all rounds, and print requests per second, their ratio, and latencies."""
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
            listening(["-m", "crm_api.cli", "serve"], environment, port=SUBJECT_PORT),
            listening(["-m", "benchmarks.intake", "floor"], environment, port=FLOOR_PORT),
        ):
            _report(*_alternate())


def _alternate() -> tuple[list[Round], list[Round], list[Round]]:
    floor, subject, many = [], [], []
    for position in range(ROUNDS + 1):
        seconds = ROUND_SECONDS if position else WARM_UP_SECONDS
        below = _load(FLOOR_PORT, "/floor", seconds=seconds, name=f"{position}f")
        ours = _load(SUBJECT_PORT, "/webhooks/openphone", seconds=seconds, name=f"{position}s")
        more = _load(
            SUBJECT_PORT,
            "/webhooks/openphone",
            seconds=seconds,
            name=f"{position}m",
            connections=MANY,
        )
        if position:
            floor.append(below)
            subject.append(ours)
            many.append(more)
    return floor, subject, many


def _report(floor: list[Round], subject: list[Round], many: list[Round]) -> None:
    print(f"intake, {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND_SECONDS:g} s, medians:")
    for name, rounds in (("floor", floor), ("intake", subject), (f"with {MANY}", many)):
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
    kept = statistics.median(
        more.per_second / ours.per_second for more, ours in zip(many, subject, strict=True)
    )
    print(f"  {MANY} connections / {CONNECTIONS}: {kept:.2f} (at least {TARGET_WITH_MANY})")


async def _prepare(database_url: str) -> None:
    await upgrade(database_url)
    connection = await asyncpg.connect(_dsn(database_url))
    await connection.execute(FLOOR_TABLE)
    await connection.close()


def _dsn(database_url: str) -> str:
    return database_url.replace("postgresql+asyncpg://", "postgresql://", 1)


def _load(
    port: int, path: str, *, seconds: float, name: str, connections: int = CONNECTIONS
) -> Round:
    module = "benchmarks.webhook_load"
    arguments = ["-m", module, str(port), path, str(seconds), name, str(connections)]
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return Round(**json.loads(done.stdout))


# The web process of the floor


def serve_floor() -> None:
    """Run the bare route until SIGTERM."""
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
    lifetimes.tune_garbage_collection()
    uvicorn.Server(config).run()


async def _keep(_connection: object) -> None:
    """Do not reset a connection when it returns to the pool; this saves the floor a round trip."""


if __name__ == "__main__":
    if sys.argv[1:] == ["floor"]:
        serve_floor()
    else:
        main()
