"""The processes of an installation. The test starts each of them, or starts `crm-api up`."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.machine import Clock, Disk
from tests.chaos.proxy import Proxy
from tests.crash.harness import Program

from crm_api.dev.server_processes import Server
from crm_api.platform.data_dir import running_settings

CHECK_EVERY_SECONDS = 0.2
STARTS_WITHIN_SECONDS = 90.0


class EndedError(Exception):
    """`crm-api up` has ended although no fault ended it."""


@dataclass(kw_only=True)
class Parts:
    """The servers and programs of an installation. The test started each of them itself."""

    data: Path
    postgres: Server
    redis: Server
    worker: Program
    api: Program
    worker_proxy: Proxy
    api_proxy: Proxy
    disk: Disk | None
    worker_clock: Clock | None
    api_clock: Clock | None
    _down: set[str] = field(default_factory=set)
    """Servers and programs that a fault has stopped. They are not restarted during the fault."""

    def start(self) -> None:
        """Start the worker and the API. PostgreSQL and Redis are already running."""
        self.worker.start()
        self.api.start()

    def check(self) -> None:
        """Do nothing, because ``keep_running`` restarts a process that ends by itself."""

    async def keep_running(self, unexpected: list[str]) -> None:
        """Restart processes that ended by themselves, as `crm-api up` does.

        For example, a server ends by itself when the disk is full. Add a sentence to ``unexpected``
        for each process that ended.
        """
        while True:
            for server in (self.postgres, self.redis):
                if server.name not in self._down and not server.is_alive():
                    unexpected.append(f"{server.name} ended by itself")
                    server.spawn()
            for name, program in (("worker", self.worker), ("API", self.api)):
                if name not in self._down and not program.is_alive:
                    unexpected.append(f"{name} ended by itself")
                    program.start()
            await asyncio.sleep(CHECK_EVERY_SECONDS)

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Do not restart the process with this name until the block ends."""
        self._down.add(name)
        try:
            yield
        finally:
            self._down.discard(name)

    def kill_postgres(self) -> None:
        """Kill all processes of PostgreSQL at once, as a power failure does."""
        lines = (self.data / "postgres" / "postmaster.pid").read_text().splitlines()
        kill_process_tree(int(lines[0]))

    def kill_redis(self) -> None:
        pid_file = self.data / "redis" / "redis.pid"
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


@dataclass(kw_only=True)
class Up:
    """`crm-api up`, which starts the servers, the worker and the API, and keeps them running."""

    data: Path
    program: Program

    def start(self) -> None:
        self.program.start()

    def check(self) -> None:
        """Check that `crm-api up` runs.

        Raises:
            EndedError: It does not run; the message has the last line of its log.
        """
        if not self.program.is_alive:
            last_line = self.program.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise EndedError(f"`crm-api up` ended: {' '.join(last_line)}")

    async def keep_running(self, unexpected: list[str]) -> None:  # noqa: ARG002 - same signature as Parts
        """Raise an error when `crm-api up` has ended, because no fault may end it."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_EVERY_SECONDS)

    async def urls(self) -> tuple[str, str]:
        """Wait until the servers run, and return the addresses of PostgreSQL and Redis."""
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            found = running_settings(self.data)
            if "CRM_REDIS_URL" in found:
                return found["CRM_DATABASE_URL"], found["CRM_REDIS_URL"]
            self.check()
            await asyncio.sleep(0.05)
        raise TimeoutError("the servers of `crm-api up` do not run")

    def kill_everything(self) -> None:
        """Kill `crm-api up` and everything that it started, as a power failure does."""
        if self.program.pid is not None and self.program.is_alive:
            kill_process_tree(self.program.pid)
        self.program.kill()

    def kill_and_start(self) -> None:
        """Kill `crm-api up` and everything that it started, and start it again immediately."""
        self.kill_everything()
        self.start()


def kill_process_tree(pid: int) -> None:
    """Kill a process and all its descendants.

    Each process is stopped (SIGSTOP) before its children are listed. So it cannot start another
    child before it is killed.
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
