"""A worker process that only runs imports, and kills itself at a given step."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes import RecordingQueue

from crm_api.domain.imports.contacts.source import ContactChunk
from crm_api.domain.imports.files.chunk_reader import OpenReaders
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.workers.imports import run_imports

PAUSE_SECONDS = 0.02


@dataclass
class Storage:
    data_dir: Path


@dataclass
class Deps:
    """The dependencies of a worker, as far as imports use them."""

    new_uow: UnitOfWorkFactory
    settings: Storage
    secret: bytes = b"a test's secret"
    is_stopping: bool = False
    works_for_seconds: float = 30.0
    import_readings: OpenReaders[ContactChunk] = field(default_factory=OpenReaders)


def kill_at(step: str, times: int) -> None:
    """Kill this process, as ``kill -9`` does, when ``step`` is reached ``times`` times."""
    left = times

    async def count(name: str) -> None:
        nonlocal left
        left -= name == step
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.set_hook(count)


async def main(database_url: str, folder: Path) -> None:
    async with open_engine(database_url, pool_size=2, application="import worker") as engine:
        sessions, queue = session_factory(engine), RecordingQueue()
        context = {"deps": Deps(lambda: UnitOfWork(sessions, queue), Storage(folder))}
        while True:
            await run_imports(context)
            await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    kill_at(sys.argv[3], int(sys.argv[4]))
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
