"""Start and stop the web processes of benchmarks, and wait until they listen."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

START_SECONDS = 300.0
NO_REDIS = "redis://127.0.0.1:1/0"
ADMIN_KEY = "crm_benchmark-admin-key-of-enough-characters"
SECRET_KEY = "a benchmark's key of 32 characters or more"  # noqa: S105 - made up


@dataclass(frozen=True)
class Child:
    """A process and the file of its log."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def end_of_log(self) -> str:
        """Return the last lines of the log."""
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")


@contextmanager
def running(arguments: list[str], environment: dict[str, str]) -> Iterator[Child]:
    """Run Python with these arguments during a block.

    The log of the process goes to a file, as in production, so that the process never waits for a
    reader of its output.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, *arguments], env=environment, stdout=log, stderr=log
        )
        try:
            child = Child(process, log)
            yield child
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(arguments)} has ended: {child.end_of_log()}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def listening(
    arguments: list[str], environment: dict[str, str], *, port: int
) -> Iterator[psutil.Process]:
    """Run Python with these arguments during a block. The block begins when the port listens.

    Raises:
        SystemExit: The process ends or does not listen; the message has the end of its log.
    """
    with running(arguments, environment) as child:
        asyncio.run(_wait_for(child, port))
        yield psutil.Process(child.process.pid)


def environment_of(database_url: str, folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment variables of a process of the service.

    ``settings`` has additional variables.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
        "CRM_DATABASE_URL": database_url,
        "CRM_REDIS_URL": NO_REDIS,
        "CRM_OPENPHONE_BASE_URL": "http://127.0.0.1:1",
        "CRM_SECRET_KEY": SECRET_KEY,
        "CRM_BOOTSTRAP_API_KEY": ADMIN_KEY,
        "CRM_DATA_DIR": str(folder),
        **settings,
    }


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def _wait_for(child: Child, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while child.process.poll() is None and time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit(f"the web process on port {port} does not listen: {child.end_of_log()}")
