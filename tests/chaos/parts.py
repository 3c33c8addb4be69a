"""The processes of a company: one by one, or as `crm-api up` with all that it starts."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cuts import Cut
from tests.chaos.machine import Clock, Disk
from tests.crash.harness import Program

from crm_api.dev.server_processes import Server
from crm_api.platform.data_dir import running_settings

KEPT_RUNNING_EVERY = 0.2
STARTS_WITHIN_SECONDS = 90.0


class EndedError(Exception):
    """`crm-api up` has ended although nothing ended it."""


@dataclass(kw_only=True)
class Parts:
    """The servers and programs, each a child of the suite."""

    data: Path
    postgres: Server
    redis: Server
    worker: Program
    api: Program
    worker_cut: Cut
    api_cut: Cut
    disk: Disk | None
    worker_clock: Clock | None
    api_clock: Clock | None
    _down: set[str] = field(default_factory=set)
    """What is down on purpose."""

    def start(self) -> None:
        """Start the programs; the servers run already."""
        self.worker.start()
        self.api.start()

    def check(self) -> None:
        """Do nothing: what ends by itself is restarted."""

    async def keep_running(self, unexpected: list[str]) -> None:
        """Restart what has ended by itself, as `crm-api up` does; on a full disk, a server."""
        while True:
            for server in (self.postgres, self.redis):
                if server.name not in self._down and not server.is_alive():
                    unexpected.append(f"{server.name} ended by itself")
                    server.spawn()
            for name, program in (("worker", self.worker), ("API", self.api)):
                if name not in self._down and not program.is_alive:
                    unexpected.append(f"{name} ended by itself")
                    program.start()
            await asyncio.sleep(KEPT_RUNNING_EVERY)

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Leave it down until the block ends."""
        self._down.add(name)
        try:
            yield
        finally:
            self._down.discard(name)

    def kill_postgres(self) -> None:
        """Kill all of its processes, like a power failure."""
        lines = (self.data / "postgres" / "postmaster.pid").read_text().splitlines()
        kill_family(int(lines[0]))

    def kill_redis(self) -> None:
        pid_file = self.data / "redis" / "redis.pid"
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


@dataclass(kw_only=True)
class Up:
    """`crm-api up`: it starts the servers, the worker and the API, and keeps them running."""

    data: Path
    program: Program

    def start(self) -> None:
        self.program.start()

    def check(self) -> None:
        """Check that it runs.

        Raises:
            EndedError: It does not run; its last line says why.
        """
        if not self.program.is_alive:
            said = self.program.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise EndedError(f"`crm-api up` ended: {' '.join(said)}")

    async def keep_running(self, unexpected: list[str]) -> None:  # noqa: ARG002 - as of Parts
        """Raise an error when it has ended: it must start at the first try, and stay up."""
        while True:
            self.check()
            await asyncio.sleep(KEPT_RUNNING_EVERY)

    async def urls(self) -> tuple[str, str]:
        """Wait until its servers run, and return the addresses of PostgreSQL and Redis."""
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            found = running_settings(self.data)
            if "CRM_REDIS_URL" in found:
                return found["CRM_DATABASE_URL"], found["CRM_REDIS_URL"]
            self.check()
            await asyncio.sleep(0.05)
        raise TimeoutError("the servers of `crm-api up` do not run")

    def kill_everything(self) -> None:
        """Kill it and everything that it started, like a power failure."""
        if self.program.pid is not None and self.program.is_alive:
            kill_family(self.program.pid)
        self.program.kill()

    def kill_and_start(self) -> None:
        """Kill everything, and start again at once."""
        self.kill_everything()
        self.start()


def kill_family(pid: int) -> None:
    """Kill a process and all its descendants.

    Each is stopped before its children are read, so that it starts no others meanwhile.
    """
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            os.kill(one, signal.SIGSTOP)
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    for one in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
