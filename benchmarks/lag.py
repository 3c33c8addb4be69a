"""Measure the lag of webhook events, from their receipt to their effect, under steady load.

`crm-api serve` and `crm-api worker` run with PostgreSQL and Redis on one machine. A load process
posts signed events about recipients of a campaign at a steady rate, without waiting for responses:
delivery reports, replies and call events, six, three and one of ten. The lag of an event is the
time from its storage to the start of the batch that applied it, as the database records it. A
separate connection samples the age of the oldest waiting event.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import uvloop

from benchmarks import apply
from benchmarks.web import free_port, listening
from benchmarks.webhook_load import SIGNING_KEY
from crm_api.dev.embedded_servers import servers
from crm_api.domain.provider.openphone.signature import sign_standard
from crm_api.platform.migration_runner import upgrade

PER_SECOND = 500
SECONDS = 60
PEOPLE = 20_000
CONNECTIONS = 64
LOOK_SECONDS = 0.05
TARGET_P99_SECONDS = 2.0
SECRET_KEY = "a benchmark's secret key of 32 characters"  # noqa: S105 - made up

LAGS = """
    SELECT count(*) FILTER (WHERE status = 'processed') AS processed, count(*) AS stored,
           percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (
               ORDER BY extract(epoch FROM processed_at - received_at)) AS lags
    FROM webhook_event
"""
OLDEST = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)
    FROM webhook_event WHERE status IN ('pending', 'failed')
"""


@dataclass(frozen=True, kw_only=True)
class Posted:
    """The measurements of the load process."""

    answered: int
    p99_ms: float
    latest_ms: float
    """The longest delay of the load process; if it is small, the rate was as planned."""


def main(per_second: int = PER_SECOND, seconds: int = SECONDS) -> None:
    """Run the benchmark and print the lag."""
    with (
        tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder)) as urls,
    ):
        assert urls.database_url is not None  # noqa: S101 - both servers were asked for
        url, port = urls.database_url, free_port()
        asyncio.run(upgrade(url))
        scene = asyncio.run(apply.fill(url, PEOPLE))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
            "CRM_DATABASE_URL": url,
            "CRM_REDIS_URL": urls.redis_url or "",
            "CRM_DATA_DIR": folder,
            "CRM_SECRET_KEY": SECRET_KEY,
            "CRM_OPENPHONE_WEBHOOK_SECRETS": SIGNING_KEY,
            "CRM_PORT": str(port),
            "CRM_LOG_FORMAT": "json",
        }
        with (
            listening(["-m", "crm_api.cli", "serve"], environment, port=port),
            _worker(environment) as worker,
        ):
            load = [str(port), scene.campaign, str(per_second), str(seconds)]
            with _looks(url) as ages:
                posted = _post(load)
                _wait_until_applied(url)
            _report(url, posted, ages, worker, per_second=per_second, seconds=seconds)


@contextmanager
def _worker(environment: dict[str, str]) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "crm_api.cli", "worker"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)  # noqa: S603 - ours
    try:
        time.sleep(3)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _looks(url: str) -> Iterator[list[float]]:
    """Sample the age of the oldest waiting event during a block; yield the ages in seconds."""
    ages: list[float] = []
    is_over = threading.Event()

    async def look() -> None:
        connection = await asyncpg.connect(apply.plain(url))
        while not is_over.is_set():
            ages.append(float(await connection.fetchval(OLDEST)))
            await asyncio.sleep(LOOK_SECONDS)
        await connection.close()

    looker = threading.Thread(target=lambda: asyncio.run(look()))
    looker.start()
    try:
        yield ages
    finally:
        is_over.set()
        looker.join()


def _post(arguments: list[str]) -> Posted:
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "benchmarks.lag", "load", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Posted(**json.loads(done.stdout))


def _wait_until_applied(url: str) -> None:
    async def wait() -> None:
        connection = await asyncpg.connect(apply.plain(url))
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                while await connection.fetchval(OLDEST) > 0:  # noqa: ASYNC110 - what it waits for is in the database
                    await asyncio.sleep(LOOK_SECONDS)
        await connection.close()

    asyncio.run(wait())


def _report(
    url: str,
    posted: Posted,
    ages: list[float],
    worker: psutil.Process,
    *,
    per_second: int,
    seconds: int,
) -> None:
    row = asyncio.run(_lags(url))
    half, most, longest = row["lags"]
    times = worker.cpu_times()
    print(f"lag at {per_second} events a second for {seconds} s, one worker:")
    print(
        f"  posted {posted.answered:,}, stored {row['stored']:,}, applied {row['processed']:,};"
        f" answered within {posted.p99_ms:.0f} ms (p99), the load was"
        f" {posted.latest_ms:.0f} ms late at most"
    )
    print(
        f"  lag p50 {half:.3f} s, p99 {most:.3f} s (< {TARGET_P99_SECONDS:g}), longest"
        f" {longest:.3f} s; the oldest event that waited: {statistics.median(ages):.3f} s as a"
        f" rule, {max(ages):.3f} s at most"
    )
    print(f"  worker {(times.user + times.system) / seconds:.2f} of a core")


async def _lags(url: str) -> asyncpg.Record:
    connection = await asyncpg.connect(apply.plain(url))
    row = await connection.fetchrow(LAGS)
    await connection.close()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return row


# The load process


async def load(port: int, campaign: str, per_second: int, seconds: int) -> Posted:
    """Post events at the planned times, each on any free connection."""
    scene = apply.Scene(campaign=campaign, now=datetime.now(UTC))
    events = list(apply.KINDS[apply.MIXED](scene, per_second * seconds))
    latencies: list[float] = []
    late: list[float] = []
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, raise_for_status=True) as client:
        url = f"http://127.0.0.1:{port}/webhooks/openphone"
        begun = time.perf_counter()

        async def post(event: dict[str, Any]) -> None:
            body = json.dumps(event).encode()
            at = datetime.now(UTC)
            headers = sign_standard(SIGNING_KEY, body, delivery_id=event["id"], at=at)
            sent = time.perf_counter()
            async with client.post(url, data=body, headers=headers) as answer:
                await answer.read()
            latencies.append(time.perf_counter() - sent)

        async with asyncio.TaskGroup() as tasks:
            for place, event in enumerate(events):
                wait = begun + place / per_second - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                late.append(-wait)
                tasks.create_task(post(event))
    latencies.sort()
    return Posted(
        answered=len(latencies),
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
        latest_ms=max(late) * 1000,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        port, campaign, per_second, seconds = sys.argv[2:]
        print(
            json.dumps(vars(uvloop.run(load(int(port), campaign, int(per_second), int(seconds)))))
        )
    else:
        main()
