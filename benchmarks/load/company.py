"""Run the company's service (`crm-api up`), and measure the CPU and memory of its processes."""

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
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from crm_api.platform.data_dir import running_settings

LIFTED = 1_000_000
"""Rate limit in messages per second, which in practice is no limit. With the provider's rate, the
run would take a whole day."""
START_SECONDS = 300.0
LOOK_SECONDS = 2.0
MEGABYTE = 1024 * 1024
OURS = ("serve", "worker")
"""Processes whose memory must not grow. The memory of the other processes may grow, because the
sandbox stores all messages, and the database stores the data."""
OTHERS = ("sandbox", "postgres", "redis")


@dataclass(frozen=True, kw_only=True)
class Look:
    """One measurement: for each process name, megabytes of memory, and CPU seconds so far."""

    at: float
    megabytes: dict[str, float]
    cpu: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Company:
    """A running service on the loopback address, with its sandbox."""

    url: str
    sandbox_url: str
    admin_key: str
    database_url: str
    process: psutil.Process
    log: Path
    looks: list[Look] = field(default_factory=list)

    def look(self) -> Look:
        """Return a measurement of all processes."""
        megabytes: dict[str, float] = defaultdict(float)
        cpu: dict[str, float] = defaultdict(float)
        for child in self.process.children(recursive=True):
            with suppress(psutil.Error):
                name = _name(child)
                # With ``pss``, memory that PostgreSQL's processes share is counted only once.
                held = child.memory_full_info().pss
                times = child.cpu_times()
                megabytes[name] += held / MEGABYTE
                cpu[name] += times.user + times.system
        return Look(at=time.monotonic(), megabytes=dict(megabytes), cpu=dict(cpu))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measure all processes when the block begins and ends, and every two seconds.

        A thread makes the measurements.
        """
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
    """Run `crm-api up` until the block ends, and write its log to a file in the folder.

    Raises:
        SystemExit: The service does not start; the message contains the end of the log.
    """
    port, log = _two_ports(), folder / "up.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
        "CRM_PORT": str(port),
        "CRM_DATA_DIR": str(folder / "data"),
        "CRM_OPENPHONE_RATE_PER_SECOND": str(LIFTED),
        "CRM_LOG_FORMAT": "json",
    }
    copy_cluster(folder / "data")
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


def environment_beside(here: Company) -> dict[str, str]:
    """Return the settings for an additional process of a running service."""
    data = here.log.parent / "data"
    return running_settings(data) | {
        "CRM_DATA_DIR": str(data),
        "CRM_OPENPHONE_BASE_URL": here.sandbox_url,
        "CRM_OPENPHONE_RATE_PER_SECOND": str(LIFTED),
    }


def _two_ports() -> int:
    """Return a free port whose next port is free too. The sandbox uses the next port."""
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
        time.sleep(0.05)
