"""Measure how soon the service's processes respond after their start, and their memory at rest.

`crm-api up` starts with a data directory that an earlier start has filled. While it runs, one more
`crm-api serve` and one more `crm-api worker` start with its database. The memory is the resident
memory.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
from tests.free_ports import free_port

from benchmarks.figures import Figure, medians, show
from benchmarks.load.company import MEGABYTE, Company, company, environment_beside
from benchmarks.web import running

ROUNDS = 3
UP_SECONDS, SERVE_SECONDS, WORKER_SECONDS = 4.0, 2.5, 1.5
MOST_MB = {"serve": 120.0, "worker": 150.0, "up": 40.0}
REST_SECONDS = 2.0
LONGEST_SECONDS = 300.0
BEATS = "SELECT count(*) FROM worker_heartbeat WHERE stopped_at IS NULL"


def main(rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the seconds of each start, and each process's memory at rest."""
    with tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with company(folder):
            pass
        yield from medians(_round(folder) for _ in range(rounds))


def _round(folder: Path) -> Iterator[Figure]:
    begun = time.perf_counter()
    with company(folder) as here:
        yield _second("up is ready", time.perf_counter() - begun, UP_SECONDS)
        time.sleep(REST_SECONDS)
        for process, megabytes in memory_of(here).items():
            yield Figure(
                name=f"memory at rest, {process}",
                value=megabytes,
                unit="MB",
                wanted=MOST_MB[process],
                is_lower_better=True,
            )
        port = free_port()
        environment = {**os.environ, **environment_beside(here), "CRM_PORT": str(port)}
        serve = _start(environment, "serve", lambda: _answers(port))
        yield _second("serve answers", serve, SERVE_SECONDS)
        before = asyncio.run(_beats(here))
        worker = _start(environment, "worker", lambda: asyncio.run(_beats(here)) > before)
        yield _second("worker works", worker, WORKER_SECONDS)


def memory_of(here: Company) -> dict[str, float]:
    """Return the resident megabytes of the processes of the service, by name."""
    found = {"up": here.process.memory_info().rss / MEGABYTE}
    for child in here.process.children(recursive=True):
        for name in ("serve", "worker"):
            if name in child.cmdline():
                found[name] = child.memory_info().rss / MEGABYTE
    return found


def _second(name: str, value: float, wanted: float) -> Figure:
    return Figure(name=name, value=value, unit="s", wanted=wanted, is_lower_better=True)


def _start(environment: dict[str, str], command: str, is_ready: Callable[[], bool]) -> float:
    """Start a process, and end it when it is ready; return the seconds until it was ready."""
    begun = time.perf_counter()
    with running(["-m", "crm_api.cli", command], environment) as child:
        while not is_ready():
            waited = time.perf_counter() - begun
            if child.process.poll() is not None or waited > LONGEST_SECONDS:
                raise SystemExit(f"{command} does not start: {child.end_of_log()}")
            time.sleep(0.02)
        return time.perf_counter() - begun


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.HTTPError:
        return False


async def _beats(here: Company) -> int:
    connection = await asyncpg.connect(here.database_url.replace("+asyncpg", "", 1))
    try:
        return int(await connection.fetchval(BEATS))
    finally:
        await connection.close()


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
