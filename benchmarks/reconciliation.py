"""Measure the reconciliation of 100,000 messages in 7,000 conversations.

The reconciliation runs twice: first no message is stored, then no message is missing. The floor
(least possible work) is the same client that reads the same pages in the same order, without
comparing or storing. The measured work is the worker's job without a rate limit. The floor and the
job run in their own processes, with a sandbox in a third process and PostgreSQL with fsync on. The
time in the database is the time from sending each statement to its result, plus the time of each
commit.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import uvicorn
import uvloop
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.free_ports import free_port

from benchmarks import population
from benchmarks.figures import Figure, medians, show
from benchmarks.sender import open_deps
from benchmarks.stage import Stage, say, stage
from benchmarks.web import listening
from crm_api.dev.sandbox.app import create_sandbox, server_config
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.message_store import StoredMessage
from crm_api.dev.sandbox.workspace import Workspace
from crm_api.domain.inbound.reconciliation import runs
from crm_api.domain.inbound.reconciliation.models import RunStatus
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.provider.openphone.client import OpenPhoneClient, open_provider
from crm_api.platform import clock, lifetimes, logs
from crm_api.platform.database import UnitOfWork, session_factory
from crm_api.platform.settings import Settings
from crm_api.workers.inbound import reconcile_openphone

TEXTS, PEOPLE, ROUNDS = 100_000, 7_000, 3
DAYS = 700
SEED = 4
TARGET_PER_SECOND = 2_000
TARGET_MB = 200
TARGET_PERCENT = 10
LOOK_SECONDS = 0.5
WORDS = ("Yes, please call me tomorrow.", "Who is this?", "Thanks!", "How much is it?", "Ok")


def main(texts: int = TEXTS, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the speed and memory of both reconciliation runs."""
    yield from medians(_round(texts) for _ in range(rounds))


def _round(texts: int) -> Iterator[Figure]:
    with stage(sandboxes=0) as on, _sandbox(on, texts) as environment:
        floor = _run(environment, "floor")
        say(f"bare: {floor.per_second:,.0f} items/s")
        first = _run(environment, "subject")
        asyncio.run(population.settle(on.database_url))
        second = _run(environment, "subject")
    for name, one in (("from nothing", first), ("nothing missing", second)):
        yield Figure(
            name=f"{name}: items a second",
            value=one.per_second,
            unit="/s",
            wanted=TARGET_PER_SECOND,
            cpu_ms=one.cpu / one.items * 1000,
        )
        yield Figure(
            name=f"{name}: of the bare client", value=one.per_second / floor.per_second, unit="x"
        )
        yield Figure(
            name=f"{name}: memory",
            value=max(one.memory),
            unit="MB",
            wanted=TARGET_MB,
            is_lower_better=True,
        )
        yield Figure(
            name=f"{name}: in the database",
            value=one.in_database / one.wall * 100,
            unit="%",
            wanted=TARGET_PERCENT if one is second else None,
            is_lower_better=True,
        )


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The measurements of a reconciliation run, or of the floor."""

    items: int
    created: int
    wall: float
    cpu: float
    in_database: float
    memory: list[float]

    @property
    def per_second(self) -> float:
        """Return the items per second."""
        return self.items / self.wall


def _run(environment: dict[str, str], mode: str) -> Figures:
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "benchmarks.reconciliation", mode],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _sandbox(on: Stage, texts: int) -> Iterator[dict[str, str]]:
    """Run a sandbox with ``texts`` messages; yield the settings of a process that uses it."""
    port = free_port()
    environment = on.environment() | {"CRM_OPENPHONE_BASE_URL": f"http://127.0.0.1:{port}"}
    arguments = ["-m", "benchmarks.reconciliation", "sandbox", str(port), str(texts)]
    with listening(arguments, environment, port=port):
        say(f"a sandbox holds {texts:,} texts")
        yield environment


# The functions below run in the process of the sandbox.


def serve(port: int, texts: int) -> None:
    """Run a sandbox with ``texts`` messages of the last two years."""
    app = create_sandbox(SandboxConfig(people="silent", rate_per_second=None))
    _fill(app.workspace, texts)
    config = server_config(app, port=port)
    config.loop, config.http = "uvloop", "httptools"
    lifetimes.tune_garbage_collection()
    uvicorn.Server(config).run()


def _fill(workspace: Workspace, texts: int) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same each time, no secret
    line = workspace.config.lines[0]
    gap = timedelta(days=DAYS) / texts
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS, hours=1)
    for place in range(texts):
        at += gap
        person = population.phone(chance.randrange(PEOPLE))
        is_ours = chance.random() < 0.7  # noqa: PLR2004 - most texts are campaigns' and replies
        made_at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        workspace.store.add(
            StoredMessage(
                seq=place + 1,
                id=f"AC{chance.getrandbits(128):032x}",
                direction="outgoing" if is_ours else "incoming",
                sender=line.number if is_ours else person,
                to=(person,) if is_ours else (line.number,),
                text=population.body(place) if is_ours else chance.choice(WORDS),
                phone_number_id=line.id,
                user_id="USsandbox1",
                status="delivered" if is_ours else "received",
                created_at=made_at,
                updated_at=made_at + timedelta(seconds=2),
            )
        )


# The code below runs in the measured processes.


class Meter:
    """Measures the memory of this process in a thread, and adds up the time in the database."""

    def __init__(self) -> None:
        self.in_database = 0.0
        self.memory: list[float] = []
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the memory repeatedly until the block ends."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _look(self) -> None:
        process = psutil.Process()
        while not self._is_over.is_set():
            self.memory.append(process.memory_info().rss / 1e6)
            self._is_over.wait(LOOK_SECONDS)


class MeteredUnitOfWork(UnitOfWork):
    """A unit of work that reports the duration of its commit to a meter."""

    meter: Meter

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        """End the transaction and record how long this takes."""
        begun = time.perf_counter()
        await super().__aexit__(exc_type)
        self.meter.in_database += time.perf_counter() - begun


def _watch(engine: AsyncEngine, meter: Meter) -> None:
    """Report the duration of each statement of the engine to a meter."""
    begun = 0.0

    def before(*_: object) -> None:
        nonlocal begun
        begun = time.perf_counter()

    def after(*_: object) -> None:
        meter.in_database += time.perf_counter() - begun

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)


async def run_subject() -> dict[str, Any]:
    """Request a reconciliation run, run it with the worker's job, and return the measurements."""
    meter = MeteredUnitOfWork.meter = Meter()
    async with AsyncExitStack() as stack:
        deps, engine = await open_deps(Settings.from_env(os.environ), stack)
        sessions = session_factory(engine)
        deps.new_uow = lambda: MeteredUnitOfWork(sessions, deps.queue)
        _watch(engine, meter)
        async with deps.new_uow() as uow:
            run_id = await runs.request_run(
                uow, ReconciliationCreate(since=_beginning()), now=clock.now()
            )
        meter.in_database = 0.0
        with meter.running():
            begun, cpu = time.perf_counter(), time.process_time()
            while True:
                await reconcile_openphone({"deps": deps})
                async with deps.new_uow() as uow:
                    run = await runs.get_run(uow, run_id=run_id)
                if run.status is not RunStatus.RUNNING and run.finished_at is not None:
                    break
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        if run.status != RunStatus.COMPLETED:
            raise SystemExit(f"The run has failed: {run.last_error}")
        return {
            "items": run.items_seen,
            "created": run.created,
            "wall": wall,
            "cpu": cpu,
            "in_database": meter.in_database,
            "memory": meter.memory,
        }


def _beginning() -> datetime:
    """Return a time before the first message, so that the second run reads as much as the first."""
    return datetime.now(UTC) - timedelta(days=DAYS + 1)


async def run_floor() -> dict[str, Any]:
    """Read every page that the job reads, and do nothing else; return the measurements."""
    meter = Meter()
    provider = open_provider(Settings.from_env(os.environ))
    with meter.running():
        begun, cpu = time.perf_counter(), time.process_time()
        items = await _read_texts(provider) + await _read_calls(provider)
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    await provider.aclose()
    return {
        "items": items,
        "created": 0,
        "wall": wall,
        "cpu": cpu,
        "in_database": 0.0,
        "memory": meter.memory,
    }


async def _read_texts(provider: OpenPhoneClient) -> int:
    items, token = 0, None
    while True:
        page = await provider.lists.workspace_messages(after=_beginning(), before=None, token=token)
        items += len(page.items)
        if (token := page.next_token) is None:
            return items


async def _read_calls(provider: OpenPhoneClient) -> int:
    items, token = 0, None
    while True:
        page = await provider.lists.conversations(updated_after=_beginning(), token=token)
        for talk in page.items:
            calls = await provider.lists.thread_calls(
                phone_number_id=talk["phoneNumberId"],
                participant=talk["participants"][0],
                after=_beginning(),
                before=None,
                token=None,
            )
            items += len(calls.items)
        if (token := page.next_token) is None:
            return items


def _main(mode: str, *numbers: str) -> None:
    if mode.isdecimal():
        show(main(int(mode), *map(int, numbers)))
        return
    logs.configure(level="ERROR")
    if mode == "sandbox":
        serve(int(numbers[0]), int(numbers[1]))
        return
    lifetimes.tune_garbage_collection()
    print(json.dumps(uvloop.run(run_floor() if mode == "floor" else run_subject())))


if __name__ == "__main__":
    _main(*sys.argv[1:] or [str(TEXTS)])
