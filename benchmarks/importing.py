"""Measure the import of 1,000,000 rows, half of them new, against a floor in the same run.

The floor is the least possible work (``import_floor.py``). The floor and the import each get a copy
of the same database. The import is the worker's job in its own process: dry run, commit, undo.
``python -m benchmarks.importing proof`` runs the same steps with ``kill -9`` instead, and compares
the contacts with the contacts of a run without kills. Both commands accept the number of rows as an
argument.
"""

import asyncio
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID

import psutil
import uvloop
from sqlalchemy import make_url
from tests.fakes import RecordingQueue

from benchmarks import import_floor, import_people, population
from benchmarks.figures import Figure, medians, show
from benchmarks.sender import open_deps
from benchmarks.stage import Child, Stage, say, stage
from crm_api.domain.imports.contacts import commit, undo_request
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, ContactImport
from crm_api.domain.imports.contacts.schemas import ImportOptions
from crm_api.domain.imports.contacts.source import examine_file, sha256_of
from crm_api.domain.imports.files import runs
from crm_api.platform import clock, lifetimes, logs
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.ids import new_id
from crm_api.platform.settings import Settings
from crm_api.workers.imports import run_imports

ROWS, ROUNDS = 1_000_000, 3
TARGET_PER_SECOND = 20_000
MOST_MB = 200
LOOK_SECONDS = 0.005
PEAK_SECONDS = 0.1


class Office:
    """Creates, commits and undoes imports as the API does, in a separate database."""

    def __init__(self, on: Stage, name: str) -> None:
        self.url = (
            make_url(on.database_url).set(database=name).render_as_string(hide_password=False)
        )
        self.folder = on.folder / name
        self.environment = on.environment() | {
            "CRM_DATABASE_URL": self.url,
            "CRM_DATA_DIR": str(self.folder),
        }

    async def accept(self, path: Path, *, dry_run: bool) -> UUID:
        """Create an import with a copy of the file; return its id."""
        import_id = new_id()
        _put(path, contact_imports.upload_path(self.folder, import_id))
        async with AsyncExitStack() as stack:
            uow = await self._uow(stack)
            await contact_imports.create_import(
                uow,
                import_id=import_id,
                file_name=path.name,
                byte_size=0,
                rows_sha256=sha256_of(path),
                detected=examine_file(path),
                options=ImportOptions(dry_run=dry_run),
                now=clock.now(),
            )
        return import_id

    async def commit(self, dry_run_id: UUID) -> UUID:
        """Commit a dry run; return the id of the import."""
        async with AsyncExitStack() as stack:
            uow = await self._uow(stack)
            return (await commit.commit_dry_run(uow, import_id=dry_run_id, now=clock.now())).id

    async def undo(self, import_id: UUID) -> None:
        """Request the undo of an import."""
        async with AsyncExitStack() as stack:
            uow = await self._uow(stack)
            await undo_request.request_undo(uow, import_id=import_id, now=clock.now())

    async def get(self, import_id: UUID) -> ContactImport:
        """Return an import."""
        async with AsyncExitStack() as stack:
            uow = await self._uow(stack)
            return await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)

    def worker(self) -> Child:
        """Start a worker process, and return the process when it is ready."""
        child = Child(self.environment, "worker", module="benchmarks.importing")
        child.ready()
        return child

    async def _uow(self, stack: AsyncExitStack) -> UnitOfWork:
        engine = await stack.enter_async_context(open_engine(self.url, pool_size=1))
        return await stack.enter_async_context(
            UnitOfWork(session_factory(engine), RecordingQueue())
        )


def _put(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(path)


def main(rows: int = ROWS, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Measure the floor, then dry run, commit and undo of an import; yield speed and memory."""
    with stage() as on:
        path = on.folder / "people.csv"
        import_people.write(path, rows)
        asyncio.run(import_people.fill(on.database_url, rows // 2))
        asyncio.run(population.settle(on.database_url))
        say(f"{rows // 2:,} people are stored, and a file of {path.stat().st_size / 1e6:.0f} MB")
        yield from medians(_round(on, path, rows) for _ in range(rounds))


def _round(on: Stage, path: Path, rows: int) -> Iterator[Figure]:
    for name in ("floor", "import"):
        asyncio.run(population.copy_database(on.database_url, name))
    floor = asyncio.run(import_floor.measure(Office(on, "floor").url, path))
    say(f"floor: phonenumbers {floor.numbers:.1f} COPY {floor.copy:.1f} upsert {floor.upsert:.1f}")
    yield from _measure(on, Office(on, "import"), path, rows, floor.total)


def _measure(on: Stage, office: Office, path: Path, rows: int, floor: float) -> Iterator[Figure]:
    dry_run_id = asyncio.run(office.accept(path, dry_run=True))
    dry = _step(on, office)
    import_id = asyncio.run(office.commit(dry_run_id))
    commit = _step(on, office)
    done = asyncio.run(office.get(import_id))
    if done.status != "completed" or done.changed_since_dry_run:
        raise SystemExit(
            f"the result of the commit differs from the dry run: {done.status} {done.error}"
        )
    asyncio.run(office.undo(import_id))
    undo = _step(on, office)
    undone = asyncio.run(office.get(import_id)).undo
    say(f"{done.created:,} new, {done.updated:,} filled, {done.unchanged:,} unchanged,")
    say(f"{done.invalid:,} refused; undone: {undone}")
    yield Figure(
        name="rows a second",
        value=rows / commit["wall"],
        unit="/s",
        wanted=TARGET_PER_SECOND,
        cpu_ms=(commit["cpu"] + commit["reader_cpu"]) / rows * 1000,
        postgres_ms=commit["postgres_cpu"] / rows * 1000,
    )
    yield Figure(name="of the floor", value=floor / commit["wall"], unit="x")
    for name, wanted in (("worker", MOST_MB), ("reader", None)):
        yield Figure(
            name=f"peak memory of the {name}",
            value=max(step[f"{name}_mb"] for step in (dry, commit, undo)),
            unit="MB",
            wanted=wanted,
            is_lower_better=True,
        )
    for name, step in (("dry run", dry), ("undo", undo)):
        yield Figure(
            name=f"{name}, rows a second",
            value=rows / step["wall"],
            unit="/s",
            cpu_ms=(step["cpu"] + step["reader_cpu"]) / rows * 1000,
            postgres_ms=step["postgres_cpu"] / rows * 1000,
        )
    yield Figure(
        name="longest stop of the event loop",
        value=max(step["late_ms"] for step in (dry, commit, undo)),
        unit="ms",
        is_lower_better=True,
    )


def _step(on: Stage, office: Office) -> dict[str, float]:
    child = office.worker()
    try:
        postgres = on.postgres_cpu()
        with _peaks(child.meter) as peaks:
            child.go()
            figures: dict[str, float] = child.figures()
        postgres = on.postgres_cpu() - postgres
    finally:
        child.close()
    return figures | peaks | {"postgres_cpu": postgres}


@contextmanager
def _peaks(worker: psutil.Process) -> Iterator[dict[str, float]]:
    """Measure the peak memory of a worker and of its child processes during a block.

    A thread reads the memory repeatedly.
    """
    peaks = {"worker_mb": 0.0, "reader_mb": 0.0}
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(PEAK_SECONDS):
            with suppress(psutil.Error):
                own = worker.memory_info().rss / 2**20
                peaks["worker_mb"] = max(peaks["worker_mb"], own)
                held = sum(one.memory_info().rss for one in worker.children()) / 2**20
                peaks["reader_mb"] = max(peaks["reader_mb"], held)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peaks
    finally:
        is_over.set()
        looking.join()


async def work() -> None:
    """Run the worker's job until no import waits, and print the measurements."""
    async with AsyncExitStack() as stack:
        deps, _ = await open_deps(Settings.from_env(os.environ), stack)
        context = {"deps": deps}
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        watch = asyncio.create_task(_latest())
        begun, cpu = time.perf_counter(), time.process_time()
        is_open = True
        while is_open:
            await run_imports(context)
            async with deps.new_uow() as uow:
                is_open = any(
                    row.finished_at is None or row.undo_state in {"pending", "running"}
                    for row in (
                        await runs.list_imports(uow, CONTACT_IMPORTS, cursor=None, limit=10)
                    ).data
                )
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        watch.cancel()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "wall": wall,
        "cpu": cpu,
        "reader_cpu": children.ru_utime + children.ru_stime,
        "late_ms": _LATE[0] * 1000,
    }
    print(json.dumps(figures))


_LATE = [0.0]


async def _latest() -> None:
    """Record how late, at most, the event loop continues this task."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(LOOK_SECONDS)
        _LATE[0] = max(_LATE[0], time.perf_counter() - begun - LOOK_SECONDS)


def _main(arguments: list[str]) -> None:
    mode = arguments[0] if arguments else ""
    if mode == "worker":
        logs.configure(level="WARNING")
        lifetimes.tune_garbage_collection()
        uvloop.run(work())
    elif mode == "proof":
        from benchmarks import import_proof  # noqa: PLC0415 - it builds on this module

        import_proof.main(*map(int, arguments[1:]))
    else:
        show(main(*map(int, arguments)))


if __name__ == "__main__":
    _main(sys.argv[1:])
