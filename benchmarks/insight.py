"""Measure requests for figures over HTTP, and the nightly computation of credits.

A credit is the share of an outcome that is credited to one message. A real `crm-api serve` responds
to one client, one request after the other. `crm-api insight compute` credits all outcomes in its
own process. Before the measurements, the stored sums are merged, and the sums by place (ZIP, city
and source of a person) are added, as the job does it.

`python -m benchmarks.insight [MESSAGES [OUTCOMES [ROUNDS [CALLS]]]]`
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from benchmarks import insight_rows, population
from benchmarks.figures import Figure, medians, show
from benchmarks.stage import postgres_cpu, say
from benchmarks.web import ADMIN_KEY, cpu_seconds, environment_of, listening
from crm_api.dev.embedded_servers import servers
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.update_sums import MOST_MERGED, merge_hour_sums
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.migration_runner import upgrade
from crm_api.workers.insight import UPDATES

MESSAGES, OUTCOMES, ROUNDS, CALLS = 5_000_000, 100_000, 3, 20
FIGURE_MS, TODAY_MS, CREDITS_A_SECOND, CREDITS_MB = 100.0, 50.0, 1_667.0, 200.0
BREAKDOWNS: dict[str, dict[str, str]] = {
    "in all": {},
    "by campaign": {"by": "campaign"},
    "by list": {"by": "list"},
    "by line": {"by": "line"},
    "by week": {"bucket": "week"},
    "by hour": {"by": "hour"},
    "by weekday": {"by": "weekday"},
    "by zip": {"by": "zip"},
}
ZONE = "America/New_York"
MANY = 10_000
"""The speed of the credits has a target only from this number of outcomes on. With fewer outcomes,
the start of the process takes most of the time."""
SLOW_MS = 1_000.0
"""A request that takes longer is not repeated in the same round."""
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class TimedRequest:
    """A request, its name, and the target of its 95th percentile (p95) in milliseconds.

    ``scope`` is the scope of the API key that sends the request. The returned records have the
    names of their people only if the scope includes ``contacts:read``, as ``admin`` does.
    """

    name: str
    path: str
    values: dict[str, str]
    wanted: float
    scope: str = "admin"


def timed_requests() -> Iterator[TimedRequest]:
    """Yield the requests: each measure with each of its breakdowns, rows, and other requests."""
    for measure in MEASURES.values():
        for name, values in BREAKDOWNS.items():
            if "by" in values and values["by"] not in measure.by:
                continue
            wanted = {"measure": measure.name, "timezone": ZONE, **values}
            yield TimedRequest(
                name=f"{measure.name} {name}", path="/v1/insight", values=wanted, wanted=FIGURE_MS
            )
    for name in ("messages", "reply_rate", "revenue"):
        values = {"measure": name, "timezone": ZONE}
        yield TimedRequest(
            name=f"rows of {name}", path="/v1/insight/rows", values=values, wanted=FIGURE_MS
        )
    for scope, people in (("admin", "with names"), ("insight:read", "without names")):
        yield TimedRequest(
            name=f"200 rows {people}",
            path="/v1/insight/rows",
            values={"measure": "reply_rate", "timezone": ZONE, "limit": "200"},
            wanted=FIGURE_MS,
            scope=scope,
        )
    since = (datetime.now(UTC) - timedelta(days=30)).date().isoformat()
    for name in ("funnel", "cohorts"):
        yield TimedRequest(
            name=f"{name} of a month",
            path=f"/v1/insight/{name}",
            values={"from": since},
            wanted=FIGURE_MS,
        )
    yield TimedRequest(name="holdouts", path="/v1/holdouts", values={}, wanted=FIGURE_MS)
    yield TimedRequest(name="today", path="/v1/today", values={}, wanted=TODAY_MS)


def main(
    messages: int = MESSAGES,
    outcomes: int = OUTCOMES,
    rounds: int = ROUNDS,
    calls: int = CALLS,
) -> Iterator[Figure]:
    """Run the benchmark; yield the speed of the credits, then p50 and p95 of each request."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True)
            )
        )
        copy_cluster(folder)
        with servers(folder, redis=False, fsync=False) as urls:
            url = str(urls.database_url)
            asyncio.run(upgrade(url))
            size = insight_rows.Size(messages=messages, outcomes=outcomes)
            asyncio.run(insight_rows.fill(url, size))
            asyncio.run(_merge(url))
        url = str(stack.enter_context(servers(folder, redis=False)).database_url)
        environment = environment_of(url, folder, CRM_RATE_LIMIT_PER_SECOND="1000000")
        yield from medians(_credits(url, environment) for _ in range(rounds))
        port = free_port()
        environment["CRM_PORT"] = str(port)
        web = stack.enter_context(listening(["-m", "crm_api.cli", "serve"], environment, port=port))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        keys = keys_of(client)
        yield from medians(_round(client, web, url, calls, keys) for _ in range(rounds))


def keys_of(client: httpx.Client) -> dict[str, str]:
    """Create an API key for each scope that the requests need; return the keys by scope."""
    scopes = {one.scope for one in timed_requests()} - {"admin"}
    made = {
        scope: client.post(
            "/v1/api-keys", json={"name": scope, "scopes": [scope]}, headers=_headers(ADMIN_KEY)
        )
        .raise_for_status()
        .json()["key"]
        for scope in scopes
    }
    return {"admin": ADMIN_KEY, **made}


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def _merge(url: str) -> None:
    async with open_engine(url, pool_size=1) as engine:
        uow, merged = UnitOfWork(session_factory(engine), NO_QUEUE), MOST_MERGED
        while merged == MOST_MERGED:
            async with uow:
                merged = await merge_hour_sums(uow)
        for update in UPDATES:
            is_more = True
            while is_more:
                async with uow:
                    is_more = await update(uow)
    # In practice, autovacuum vacuums and analyzes the tables within minutes.
    await population.settle(url)


def _credits(url: str, environment: dict[str, str]) -> Iterator[Figure]:
    """Credit all outcomes in a process; yield its speed and its peak memory."""
    begun, database = time.perf_counter(), postgres_cpu(url)
    peak = cpu = 0.0
    command = [sys.executable, "-m", "crm_api.cli", "insight", "compute"]
    process = psutil.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss / MEGABYTE)
            cpu = cpu_seconds(process)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit("the credits were not computed; run `crm-api insight compute` alone")
    seconds = time.perf_counter() - begun
    credited = int(process.communicate()[0].split()[0])
    yield Figure(
        name="credited outcomes",
        value=credited / seconds,
        unit="/s",
        wanted=CREDITS_A_SECOND if credited >= MANY else None,
        cpu_ms=cpu / credited * 1000,
        postgres_ms=(postgres_cpu(url) - database) / credited * 1000,
    )
    yield Figure(
        name="peak memory of the credits",
        value=peak,
        unit="MB",
        wanted=CREDITS_MB,
        is_lower_better=True,
    )


def _round(
    client: httpx.Client, web: psutil.Process, url: str, calls: int, keys: dict[str, str]
) -> Iterator[Figure]:
    for request in timed_requests():
        taken: list[float] = []
        client.headers = httpx.Headers(_headers(keys[request.scope]))
        # The first request is a warm-up and is not measured.
        _ask(client, request)
        cpu, database = cpu_seconds(web), postgres_cpu(url)
        for _ in range(calls):
            taken.append(_ask(client, request))
            if taken[-1] > SLOW_MS:
                break
        cpu, database = cpu_seconds(web) - cpu, postgres_cpu(url) - database
        yield Figure(
            name=f"{request.name}, p50",
            value=statistics.median(taken),
            unit="ms",
            is_lower_better=True,
        )
        yield Figure(
            name=f"{request.name}, p95",
            value=sorted(taken)[int(len(taken) * 0.95)],
            unit="ms",
            wanted=request.wanted,
            is_lower_better=True,
            cpu_ms=cpu / len(taken) * 1000,
            postgres_ms=database / len(taken) * 1000,
        )
    say("a round is over")


def _ask(client: httpx.Client, request: TimedRequest) -> float:
    begun = time.perf_counter()
    answer = client.get(request.path, params=request.values)
    taken = (time.perf_counter() - begun) * 1000
    is_refused = answer.is_client_error and answer.json().get("code") == "too_many_records"
    if answer.is_error and not is_refused:
        raise SystemExit(f"{answer.url} answered {answer.status_code}: {answer.text}")
    return taken


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
