"""The company's installation: `crm-api up` with its processes, and what they take."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import aiohttp
import psutil

from benchmarks.web import free_port
from crm_api.platform.data_dir import running_settings

LIFTED = 1_000_000
"""Texts a second: the provider's own rate would make the day last as long as it does."""
START_SECONDS = 120.0
LOOK_SECONDS = 2.0
MEGABYTE = 1024 * 1024
OURS = ("serve", "worker")
"""The processes that must not grow; the sandbox keeps every text, and the database the data."""
OTHERS = ("sandbox", "postgres", "redis")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the processes took at one moment: megabytes, and CPU seconds so far, by name."""

    at: float
    megabytes: dict[str, float]
    cpu: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Company:
    """A running service on loopback, with its sandbox."""

    url: str
    sandbox_url: str
    admin_key: str
    database_url: str
    process: psutil.Process
    log: Path
    looks: list[Look] = field(default_factory=list)

    def look(self) -> Look:
        """Look at all processes."""
        megabytes: dict[str, float] = defaultdict(float)
        cpu: dict[str, float] = defaultdict(float)
        for child in self.process.children(recursive=True):
            with suppress(psutil.Error):
                name = _name(child)
                # Shared pages of PostgreSQL's processes are counted once among them.
                held = child.memory_full_info().pss
                times = child.cpu_times()
                megabytes[name] += held / MEGABYTE
                cpu[name] += times.user + times.system
        return Look(at=time.monotonic(), megabytes=dict(megabytes), cpu=dict(cpu))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the beginning, every other second, and at the end of a block, from a thread."""
        is_over = threading.Event()

        def watch() -> None:
            while True:
                with suppress(psutil.Error):
                    self.looks.append(self.look())
                if is_over.wait(LOOK_SECONDS):
                    break

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.looks.append(self.look())


def _name(child: psutil.Process) -> str:
    command = child.cmdline()
    for name in (*OURS, "sandbox"):
        if name in command:
            return name
    for name, program in (("postgres", "postgres"), ("redis", "valkey"), ("redis", "redis")):
        if program in child.name():
            return name
    return "other"


@contextmanager
def company(folder: Path) -> Iterator[Company]:
    """Run `crm-api up` for the length of a block, its log in a file of the folder.

    Raises:
        SystemExit: It does not start; the log says why.
    """
    port, log = _two_ports(), folder / "up.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
        "CRM_PORT": str(port),
        "CRM_DATA_DIR": str(folder / "data"),
        "CRM_OPENPHONE_RATE_PER_SECOND": str(LIFTED),
        "CRM_LOG_FORMAT": "json",
    }
    with log.open("wb") as file:
        process = _start(environment, file)
        try:
            _wait(process, f"http://127.0.0.1:{port}", log)
            yield _company(process, port, folder / "data", log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _start(environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "crm_api.cli", "up"]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 - ours


def _company(process: subprocess.Popen[bytes], port: int, data: Path, log: Path) -> Company:
    announced = running_settings(data)
    return Company(
        url=f"http://127.0.0.1:{port}",
        sandbox_url=f"http://127.0.0.1:{port + 1}",
        admin_key=(data / "admin-key").read_text().strip(),
        database_url=announced["CRM_DATABASE_URL"],
        process=psutil.Process(process.pid),
        log=log,
    )


def _two_ports() -> int:
    """Return a free port whose next one, the sandbox's, is free as well."""
    while True:
        port = free_port()
        with suppress(OSError):
            asyncio.run(_bind(port + 1))
            return port


async def _bind(port: int) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", port)
    server.close()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    async def answers() -> bool:
        async with aiohttp.ClientSession() as client:
            with suppress(aiohttp.ClientError):
                async with client.get(f"{url}/readyz") as answer:
                    return answer.ok
        return False

    deadline = time.monotonic() + START_SECONDS
    while not asyncio.run(answers()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"crm-api up does not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)
