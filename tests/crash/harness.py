"""Real processes for the crash tests: servers, the sandbox, and programs that can be killed."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from benchmarks import population
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from crm_api.dev.embedded_servers import EmbeddedServers
from crm_api.dev.sandbox.app import run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.server_processes import Server
from crm_api.platform.data_dir import claim
from crm_api.platform.database import open_engine
from crm_api.platform.migration_runner import upgrade

SECRET_KEY = "a crash test's key of 32 characters or more"  # noqa: S105 - made up
ADMIN_KEY = "crm_crash-test-admin-key-of-enough-characters"
OPEN = ("pending", "sending", "unknown")


class Program:
    """A `crm-api` command, such as `crm-api worker`, that runs in its own process."""

    def __init__(self, command: str, env: dict[str, str], log: Path) -> None:
        self._command = command
        self._env = env
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "crm_api.cli", self._command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)  # noqa: S603 - our own

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None and self.is_alive:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def terminate(self) -> int | None:
        """Ask the process to stop, and return its exit code; None if it had to be killed."""
        if self._process is None:
            return None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=30)
        self.kill()
        return None


@dataclass(kw_only=True)
class Installation:
    """What a crash test uses: the servers, the provider's log, the worker and the API."""

    engine: AsyncEngine
    database_url: str
    redis_url: str
    sandbox_url: str
    worker: Program
    api: Program
    api_url: str
    redis: Server
    postgres: Server
    deadline: float

    async def start_campaign(self, recipients: int) -> None:
        await population.start_campaign(self.database_url, recipients)

    async def statuses(self) -> Counter[str]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT status, count(*) AS rows FROM campaign_membership GROUP BY status")
            )
            return Counter({row.status: row.rows for row in rows})

    async def in_flight(self) -> int:
        """Return how many attempts are in flight (claimed or calling) now."""
        async with self.engine.connect() as connection:
            found = await connection.scalar(
                text("SELECT count(*) FROM send_attempt WHERE status IN ('claimed', 'calling')")
            )
        return int(found or 0)

    async def wait_for_work(self) -> bool:
        """Wait until an attempt is in flight (claimed or calling).

        Return False if no recipient is open any more, or if the deadline has passed.
        """
        while time.monotonic() < self.deadline:
            if await self.in_flight():
                return True
            statuses = await self.statuses()
            if not any(statuses[name] for name in OPEN):
                return False
            await asyncio.sleep(0.02)
        return False

    async def wait_until_settled(self) -> Counter[str]:
        statuses = await self.statuses()
        while any(statuses[name] for name in OPEN) and time.monotonic() < self.deadline:
            await asyncio.sleep(0.5)
            statuses = await self.statuses()
        return statuses

    @asynccontextmanager
    async def open_client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Start the API, wait until it is ready, and yield a client with the admin key."""
        self.api.start()
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(base_url=self.api_url, headers=headers, timeout=15) as client:
            while time.monotonic() < self.deadline:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/readyz")).is_success:
                        break
                await asyncio.sleep(0.05)
            yield client

    async def wait_until_true(self, condition: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until the condition is true; return False if it is still false at the deadline."""
        while time.monotonic() < self.deadline:
            if await condition():
                return True
            await asyncio.sleep(0.1)
        return False

    async def add_fault(self, kind: str, probability: float) -> None:
        async with httpx.AsyncClient(base_url=self.sandbox_url) as client:
            body = {"kind": kind, "probability": probability}
            (await client.post("/sandbox/faults", json=body)).raise_for_status()

    async def messages_by_recipient(self) -> Counter[str]:
        """Return how many messages the provider accepted for each phone number."""
        async with httpx.AsyncClient(base_url=self.sandbox_url) as client:
            answer = await client.get("/sandbox/messages", params={"direction": "outgoing"})
        return Counter(message["to"][0] for message in answer.json()["data"])

    async def pause(self, seconds: float) -> None:
        """Wait while the processes work."""
        await asyncio.sleep(seconds)

    async def empty_redis(self) -> None:
        async with Redis.from_url(self.redis_url) as redis:
            await redis.flushall()

    async def kill_at_random(self, chance: random.Random, kills: int, *, within: float) -> int:
        """Kill and restart the worker until enough kills happened while attempts were in flight.

        Return the number of these kills. It is smaller than ``kills`` if no recipient is open any
        more.
        """
        counted = 0
        while counted < kills and await self.wait_for_work():
            await asyncio.sleep(chance.uniform(0.0, within))
            counted += bool(await self.in_flight())
            self.worker.kill()
            self.worker.start()
        return counted


@asynccontextmanager
async def open_installation(
    folder: Path, *, rate_per_second: float, seconds: float
) -> AsyncIterator[Installation]:
    """Start PostgreSQL, Redis and the sandbox; all processes end when the block ends.

    The test itself starts the worker and the API.
    """
    config = SandboxConfig(people="silent", rate_per_second=None)
    copy_cluster(folder)
    with claim(folder) as held, run_sandbox(config) as sandbox:
        embedded = EmbeddedServers(held, postgres=True, redis=True)
        try:
            urls = embedded.start()
            redis, postgres = embedded.processes
            database_url, redis_url = str(urls.database_url), str(urls.redis_url)
            await upgrade(database_url)
            env = environment(folder, rate=rate_per_second) | {
                "CRM_DATABASE_URL": database_url,
                "CRM_REDIS_URL": redis_url,
                "CRM_OPENPHONE_BASE_URL": sandbox.url,
            }
            worker = Program("worker", env, folder / "worker.log")
            api = Program("serve", env, folder / "serve.log")
            async with open_engine(database_url, pool_size=3) as engine:
                yield Installation(
                    engine=engine,
                    database_url=database_url,
                    redis_url=redis_url,
                    sandbox_url=sandbox.url,
                    worker=worker,
                    api=api,
                    api_url=f"http://127.0.0.1:{env['CRM_PORT']}",
                    redis=redis,
                    postgres=postgres,
                    deadline=time.monotonic() + seconds,
                )
        finally:
            worker.kill()
            api.kill()
            embedded.stop()


def environment(folder: Path, *, rate: float) -> dict[str, str]:
    """Return the environment variables of the worker and the API.

    The addresses of the servers and of the provider are not included.
    """
    return {
        **os.environ,
        "CRM_DATA_DIR": str(folder),
        "CRM_PORT": str(free_port()),
        "CRM_SECRET_KEY": SECRET_KEY,
        "CRM_BOOTSTRAP_API_KEY": ADMIN_KEY,
        "CRM_OPENPHONE_RATE_PER_SECOND": str(rate),
        "CRM_SEND_LEASE_SECONDS": "20",
        "CRM_SETTLE_GRACE_SECONDS": "10",
    }
