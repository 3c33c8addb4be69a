"""Measure the lag of webhook events, from their receipt to their effect, under steady load.

`crm-api serve` and `crm-api worker` run with PostgreSQL and Redis on one machine. A load process
posts signed events about recipients of a campaign at a steady rate, without waiting for responses:
60 % delivery reports, 30 % replies and 10 % call events. The lag of an event is the time from its
storage to the start of the batch that applied it, as the database records it. A separate connection
repeatedly reads the age of the oldest waiting event. The lag is measured once while nothing else
happens, and once while the same worker sends a campaign as fast as it can.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import psutil
import uvloop
from tests.free_ports import free_port

from benchmarks import apply, population
from benchmarks.figures import Figure, medians, show
from benchmarks.stage import say, stage
from benchmarks.web import cpu_seconds, listening, running
from benchmarks.webhook_load import SIGNING_KEY
from crm_api.domain.provider.openphone.signature import sign_standard

PER_SECOND, SECONDS, ROUNDS = 500, 60, 3
DRAINED_PER_SECOND = 1_500
"""Number of recipients for each second of the measurement. One worker sends fewer messages while it
also applies events, so there are always recipients who wait."""
PEOPLE = 20_000
CONNECTIONS = 64
LOOK_SECONDS = 0.05
TARGET_P99_SECONDS = 2.0

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
    """By how much, at most, the load process posted an event too late. If it is small, the rate was
    as planned."""


def main(
    per_second: int = PER_SECOND,
    seconds: int = SECONDS,
    rounds: int = ROUNDS,
    *,
    alone: bool = True,
) -> Iterator[Figure]:
    """Run the benchmark; yield the lag.

    If ``alone`` is true, the lag is also measured without a campaign.
    """
    scenes = {"a campaign leaves": DRAINED_PER_SECOND * seconds}
    if alone:
        scenes["nothing else"] = 0
    for name, drained in scenes.items():
        yield from medians(
            _round(per_second, seconds, drained=drained, name=name) for _ in range(rounds)
        )


def _round(per_second: int, seconds: int, *, drained: int, name: str) -> Iterator[Figure]:
    with stage(redis=True) as on:
        url, port = on.database_url, free_port()
        people = min(PEOPLE, per_second * seconds)
        scene = asyncio.run(apply.fill(url, people))
        if drained:
            asyncio.run(population.start_campaign(url, drained, first=people + apply.WARM_UP))
        environment = on.environment() | {
            "CRM_OPENPHONE_WEBHOOK_SECRETS": SIGNING_KEY,
            "CRM_PORT": str(port),
        }
        before = population.count_accepted(url)
        with (
            listening(["-m", "crm_api.cli", "serve"], environment, port=port),
            _worker(environment) as worker,
        ):
            with _looks(url) as ages:
                posted = _post([str(port), scene.campaign, str(per_second), str(seconds)])
                _wait_until_applied(url)
            row = asyncio.run(_lags(url))
            cpu_ms = cpu_seconds(worker) / row["processed"] * 1000
        left = population.count_accepted(url) - before
        say(
            f"posted {posted.answered:,}, stored {row['stored']:,}, applied {row['processed']:,};"
            f" the load was {posted.latest_ms:.0f} ms late at most; {left:,} messages left"
        )
        half, most, _ = row["lags"]
        yield Figure(
            name=f"{name}: lag p99",
            value=most,
            unit="s",
            wanted=TARGET_P99_SECONDS,
            is_lower_better=True,
        )
        yield Figure(name=f"{name}: lag p50", value=half, unit="s", is_lower_better=True)
        yield Figure(
            name=f"{name}: the oldest that waited", value=max(ages), unit="s", is_lower_better=True
        )
        yield Figure(
            name=f"{name}: answered, p99", value=posted.p99_ms, unit="ms", is_lower_better=True
        )
        if drained:
            yield Figure(name=f"{name}: messages a second", value=left / seconds, unit="/s")
        else:
            yield Figure(name="applied", value=row["processed"], unit="events", cpu_ms=cpu_ms)


@contextmanager
def _worker(environment: dict[str, str]) -> Iterator[psutil.Process]:
    with running(["-m", "crm_api.cli", "worker"], environment) as worker:
        time.sleep(3)
        yield psutil.Process(worker.process.pid)


@contextmanager
def _looks(url: str) -> Iterator[list[float]]:
    """Read the age of the oldest waiting event repeatedly during a block; yield all ages.

    The ages are in seconds.
    """
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


async def _lags(url: str) -> asyncpg.Record:
    connection = await asyncpg.connect(apply.plain(url))
    row = await connection.fetchrow(LAGS)
    await connection.close()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return row


# The function below runs in the load process.


async def load(port: int, campaign: str, per_second: int, seconds: int) -> Posted:
    """Post each event at its planned time, over any free connection."""
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
        show(main(*map(int, sys.argv[1:])))
