"""Measure the webhook receiver against a floor: a bare FastAPI route with one HMAC and one INSERT.

The receiver and the floor respond to the same signed requests over 16 connections. Each has its own
web process (uvloop, httptools, the garbage collection of `crm-api serve`), and both use the same
PostgreSQL with fsync on. A third process sends the requests. Rounds of both alternate, so that both
have the same load of the machine, and their medians are compared. Then the receiver gets more
connections, with which its rate must stay nearly the same.
"""

import asyncio
import hmac
import json
import os
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from tests.prepared_cluster import copy_cluster

from benchmarks.figures import Figure, medians, show
from benchmarks.web import cpu_seconds, listening
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
TARGET_RATIO = 1.5
TARGET_P99_MS = 15.0
MANY = (64, 256)
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


def main(rounds: int = ROUNDS, seconds: float = ROUND_SECONDS) -> Iterator[Figure]:
    """Run all rounds; yield requests per second, their ratio to the floor, and latencies."""
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True)
        )
        copy_cluster(Path(folder))
        urls = stack.enter_context(servers(Path(folder)))
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
            listening(["-m", "crm_api.cli", "serve"], environment, port=SUBJECT_PORT) as web,
            listening(["-m", "benchmarks.intake", "floor"], environment, port=FLOOR_PORT),
        ):
            list(_round(web, "warm", min(seconds, WARM_UP_SECONDS)))
            yield from medians(_round(web, f"{number}", seconds) for number in range(rounds))


def _round(web: psutil.Process, name: str, seconds: float) -> Iterator[Figure]:
    """Send requests to the floor, then to the receiver with 16 and with more connections."""
    floor = _load(FLOOR_PORT, "/floor", seconds=seconds, name=f"{name}f")
    cpu = cpu_seconds(web)
    ours = _load(SUBJECT_PORT, "/webhooks/openphone", seconds=seconds, name=f"{name}s")
    cpu_ms = (cpu_seconds(web) - cpu) / (ours.per_second * seconds) * 1000
    yield Figure(
        name="of the floor",
        value=ours.per_second / floor.per_second,
        unit="x",
        wanted=TARGET_RATIO,
        cpu_ms=cpu_ms,
    )
    yield Figure(name="webhooks a second", value=ours.per_second, unit="/s")
    yield Figure(name="floor", value=floor.per_second, unit="/s")
    yield Figure(
        name="p99", value=ours.p99_ms, unit="ms", wanted=TARGET_P99_MS, is_lower_better=True
    )
    for connections in MANY:
        more = _load(
            SUBJECT_PORT,
            "/webhooks/openphone",
            seconds=seconds,
            name=f"{name}m{connections}",
            connections=connections,
        )
        yield Figure(
            name=f"with {connections} connections",
            value=more.per_second / ours.per_second,
            unit=f"of {CONNECTIONS}",
            wanted=TARGET_WITH_MANY,
        )


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


# The functions below run in the web process of the floor.


def serve_floor() -> None:
    """Run the bare route, which is the floor, until SIGTERM."""
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
    """Do not reset a connection that goes back to the pool, which saves the floor a round trip."""


if __name__ == "__main__":
    if sys.argv[1:] == ["floor"]:
        serve_floor()
    else:
        show(main())
