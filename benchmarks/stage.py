"""The environment of the send benchmarks: PostgreSQL, the sandbox, senders, and CPU meters.

Each part runs in its own process. The CPU time of a process is its user time plus its system time.
The CPU time of PostgreSQL is the sum of all its processes, including those that have ended.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import text
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from benchmarks.population import count_accepted
from benchmarks.web import NO_REDIS, START_SECONDS, environment_of
from crm_api.dev.embedded_servers import servers
from crm_api.platform.database import open_engine
from crm_api.platform.migration_runner import upgrade

LIFTED = 1_000_000.0
"""Rate limit in messages per second; it is so high that it has no effect."""
_BEGUN = time.monotonic()


def say(line: str) -> None:
    """Print a line about the progress to stderr, with the seconds since the start."""
    print(f"   {time.monotonic() - _BEGUN:6.0f} s  {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The measurements of one run of all senders together. The CPU times are in seconds."""

    messages: int
    wall: float
    sender_cpu: float
    postgres_cpu: float
    sandbox_cpu: float
    rss_mb: float
    statements: Counter[str] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        """Return the messages per second."""
        return self.messages / self.wall

    @property
    def cpu(self) -> float:
        """Return the CPU milliseconds of sender and database per message.

        The CPU time of the sandbox is not included.
        """
        return self.ms(self.sender_cpu + self.postgres_cpu)

    def ms(self, seconds: float) -> float:
        """Convert seconds of the whole run into milliseconds per message."""
        return seconds / self.messages * 1000

    def per_thousand(self, statement: str | None = None) -> float:
        """Return how often a statement ran per 1,000 messages; None counts all statements."""
        count = self.statements.total() if statement is None else self.statements[statement]
        return count / self.messages * 1000


async def _find_postmaster(database_url: str) -> psutil.Process:
    async with open_engine(database_url) as engine, engine.connect() as connection:
        own = await connection.scalar(text("SELECT pg_backend_pid()"))
        parent = psutil.Process(own).parent()
    assert parent is not None  # noqa: S101 - a backend has one
    return parent


@lru_cache
def _postmaster(database_url: str) -> psutil.Process:
    """Return the parent of all processes of the PostgreSQL server."""
    # This thread may already have a running event loop.
    with ThreadPoolExecutor() as beside:
        return beside.submit(asyncio.run, _find_postmaster(database_url)).result()


def postgres_cpu(database_url: str) -> float:
    """Return the CPU seconds of all PostgreSQL processes, including those that have ended."""
    postmaster = _postmaster(database_url)
    ended = _ended(postmaster)
    while True:
        total: float = 0.0
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        before, ended = ended, _ended(postmaster)
        # Otherwise, a process has ended meanwhile, and its CPU time is missing from the sum.
        if before == ended:
            return total + ended


def _ended(postmaster: psutil.Process) -> float:
    times = postmaster.cpu_times()
    return float(times.children_user + times.children_system)


class Child:
    """A process of a benchmark: it warms up, waits for its start, and prints its measurements."""

    def __init__(
        self, env: dict[str, str], *arguments: str, module: str = "benchmarks.sender"
    ) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(  # noqa: S603 - our own
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.meter = psutil.Process(self._process.pid)

    def close(self) -> None:
        """End the process if it is still running."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()

    def ready(self) -> None:
        """Wait until the process has warmed up."""
        self._read()

    def go(self) -> None:
        """Start the work of the process."""
        assert self._process.stdin is not None  # noqa: S101 - piped
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def figures(self) -> dict[str, Any]:
        """Wait until the process has finished.

        Returns:
            Wall-clock seconds, CPU seconds, resident memory, and the number of its statements.
        """
        found: dict[str, Any] = json.loads(self._read())
        return found

    def _read(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - piped
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A sender ended with {self._process.wait()}; its reason is above.")
        return line


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The running servers of a benchmark. The tables are empty at first."""

    folder: Path
    database_url: str
    sandboxes: Sequence[tuple[subprocess.Popen[bytes], int]]
    redis_url: str = NO_REDIS

    def environment(self, sandbox: int = 0) -> dict[str, str]:
        """Return the environment variables of a process that uses the sandbox with this index."""
        port = self.sandboxes[sandbox][1] if self.sandboxes else 1
        return environment_of(
            self.database_url,
            self.folder,
            CRM_REDIS_URL=self.redis_url,
            CRM_OPENPHONE_BASE_URL=f"http://127.0.0.1:{port}",
            CRM_OPENPHONE_RATE_PER_SECOND=str(LIFTED),
        )

    def postgres_cpu(self) -> float:
        """Return the CPU seconds of all processes of PostgreSQL."""
        return postgres_cpu(self.database_url)

    def sandbox_cpu(self) -> float:
        """Return the CPU seconds of all sandboxes."""
        meters = (psutil.Process(process.pid).cpu_times() for process, _ in self.sandboxes)
        return sum(times.user + times.system for times in meters)

    @contextmanager
    def senders(self, *arguments: str, count: int = 1) -> Iterator[list[Child]]:
        """Run ``count`` senders, each with its own sandbox, until the block ends.

        The senders are yielded after their warm-up.
        """
        children: list[Child] = []
        try:
            for place in range(count):
                children.append(Child(self.environment(place), *arguments))  # noqa: PERF401 - what was started is ended
            for child in children:
                child.ready()
            yield children
        finally:
            for child in children:
                child.close()

    def measure(self, children: Sequence[Child], *, messages: int | None = None) -> Figures:
        """Start the work of senders that are ready, and return the measurements.

        Args:
            children: The senders. They begin at the same time.
            messages: The number of messages that they send together. If it is None, the number is
                read from the database.
        """
        before = 0 if messages else count_accepted(self.database_url)
        postgres, sandbox = self.postgres_cpu(), self.sandbox_cpu()
        for child in children:
            child.go()
        found = [child.figures() for child in children]
        statements: Counter[str] = Counter()
        for one in found:
            statements.update(one.get("statements", {}))
        postgres, sandbox = self.postgres_cpu() - postgres, self.sandbox_cpu() - sandbox
        return Figures(
            messages=messages or count_accepted(self.database_url) - before,
            wall=max(one["wall"] for one in found),
            sender_cpu=sum(one["cpu"] for one in found),
            postgres_cpu=postgres,
            sandbox_cpu=sandbox,
            rss_mb=max(one["rss_mb"] for one in found),
            statements=statements,
        )


@contextmanager
def stage(*, sandboxes: int = 1, redis: bool = False) -> Iterator[Stage]:
    """Run the servers until the block ends, and then delete their data."""
    with ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True)
        )
        copy_cluster(Path(name))
        urls = stack.enter_context(servers(Path(name), redis=redis))
        database_url = str(urls.database_url)
        asyncio.run(upgrade(database_url))
        started: list[tuple[subprocess.Popen[bytes], int]] = []
        try:
            for _ in range(sandboxes):
                started.append(_start_sandbox())  # noqa: PERF401 - what was started is ended
            yield Stage(
                folder=Path(name),
                database_url=database_url,
                sandboxes=started,
                redis_url=urls.redis_url or NO_REDIS,
            )
        finally:
            for process, _ in started:
                process.terminate()
                process.wait()


def _start_sandbox() -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.sender", "sandbox", str(port)]
    process = subprocess.Popen(command)  # noqa: S603 - our own
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/sandbox/stats").is_success:
                return process, port
        time.sleep(0.05)
    process.terminate()
    raise SystemExit("The sandbox did not start.")
