"""Everything of a small company on one machine, between cuts, with people and a user at work."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.chaos.cuts import Cut, cut_to
from tests.chaos.ledger import note_steps
from tests.chaos.machine import Clock, Disk, find_clock_library, small_disk
from tests.chaos.traffic import Traffic
from tests.crash.crowd import PEOPLE_WEIGHTS, Crowd
from tests.crash.harness import ADMIN_KEY, Program, environment
from tests.crash.holders import note_holders
from tests.crash.servers import OURS

from crm_api.data_dir import claim
from crm_api.db import open_engine
from crm_api.embedded import EmbeddedServers
from crm_api.migrate import upgrade
from crm_api.sandbox.config import OwnLine, SandboxConfig
from crm_api.sandbox.running import RunningSandbox, run_sandbox
from crm_api.servers import Server
from crm_api.settings import Settings

RATE_PER_SECOND = 12.0
PEOPLE = 3_000
CAMPAIGN_SIZE = 60
BACKLOG = 150
"""More than wait for ever behind the two caps below."""
LINE_CAP = 20
"""Of the line that has few texts a day."""
CAMPAIGN_CAP = 15
STARTS_WITHIN_SECONDS = 90.0
KEPT_RUNNING_EVERY = 0.2
LINES = tuple(
    OwnLine(id=f"PNsandbox{number}", number=f"+1617555010{number}", name=f"Line {number}")
    for number in (1, 2, 3)
)
TIME_SCALE = 0.004
"""The provider tries a webhook again after 5 s, 5 min, 30 min: here after 0.02, 1.2 and 7.2 s."""


@dataclass(kw_only=True)
class Stage:
    """What faults fall on."""

    folder: Path
    settings: Settings
    engine: AsyncEngine
    provider: httpx.AsyncClient
    sandbox: RunningSandbox
    postgres: Server
    redis: Server
    redis_url: str
    worker: Program
    api: Program
    user: httpx.AsyncClient
    worker_cut: Cut
    api_cut: Cut
    crowd: Crowd
    traffic: Traffic
    disk: Disk | None
    worker_clock: Clock | None
    api_clock: Clock | None
    capped_line: str = ""
    capped: list[str] = field(default_factory=list)
    """Campaigns that cannot end today."""
    surprises: list[str] = field(default_factory=list)
    refusals_heard: int | None = None
    """How often the provider refused the account, by its own count; None: it did not."""
    _down: set[str] = field(default_factory=set)
    """What is down on purpose."""

    async def open_up(self) -> None:
        """Start the programs, and let the first campaigns run."""
        self.worker.start()
        self.api.start()
        await self.until_ready()
        await self.crowd.gather(PEOPLE)
        self.capped_line = self.crowd.lines.pop()
        await self.crowd.ask("PATCH", f"/v1/lines/{self.capped_line}", {"daily_limit": LINE_CAP})
        pacing = {"daily_limit": CAMPAIGN_CAP, "mode": "burst"}
        pacing |= {"batch_size": 100_000, "batch_interval_minutes": 1}
        self.capped = [
            await self.crowd.start_campaign(line=self.capped_line),
            await self.crowd.start_campaign(pacing=pacing),
        ]
        await self.crowd.start_campaign()

    async def until_ready(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if (await self.user.get("/readyz")).is_success:
                    return
            await asyncio.sleep(0.05)
        raise TimeoutError("the API is not ready")

    async def close_down(self) -> None:
        """Cancel what cannot end today."""
        for campaign in self.capped:
            await self.crowd.move(campaign, "cancel")

    async def keep_running(self) -> None:
        """Start again what has ended by itself, as `crm-api up` does; on a full disk, a server."""
        while True:
            for server in (self.postgres, self.redis):
                if server.name not in self._down and not server.is_alive():
                    self.surprises.append(f"{server.name} ended by itself")
                    server.spawn()
            for name, program in (("worker", self.worker), ("API", self.api)):
                if name not in self._down and not program.is_alive:
                    self.surprises.append(f"{name} ended by itself")
                    program.start()
            await asyncio.sleep(KEPT_RUNNING_EVERY)

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Leave it down for the length of the block."""
        self._down.add(name)
        try:
            yield
        finally:
            self._down.discard(name)

    def kill_postgres(self) -> None:
        """Kill all of its processes, as a machine does that loses its power."""
        lines = (self.settings.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        _kill_all(int(lines[0]))

    def kill_redis(self) -> None:
        pid_file = self.settings.data_dir / "redis" / "redis.pid"
        os.kill(int(pid_file.read_text()), signal.SIGKILL)

    async def empty_redis(self) -> None:
        async with Redis.from_url(self.redis_url) as redis:
            await redis.flushall()

    async def order(self, kind: str, *, on: str = "send", probability: float = 1.0) -> None:
        """Have the provider fail so from now on."""
        body = {"kind": kind, "on": on, "probability": probability}
        (await self.provider.post("/sandbox/faults", json=body)).raise_for_status()

    async def clear_orders(self) -> None:
        (await self.provider.delete("/sandbox/faults")).raise_for_status()


def _kill_all(pid: int) -> None:
    """Kill a process and its children, the parent first, so that it starts no others."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in (pid, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


async def make_template(folder: Path) -> None:
    """Make a data directory with all tables, which each fault gets a copy of."""
    with claim(folder) as held:
        embedded = EmbeddedServers(held, postgres=True, redis=False)
        try:
            url = str(embedded.start().database_url)
            await upgrade(url)
            async with open_engine(url, pool_size=1) as engine:
                await note_holders(engine, has_names=False)
                await note_steps(engine)
                async with engine.connect() as connection:
                    outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
                    await outside.execute(text("ALTER SYSTEM SET track_commit_timestamp = on"))
                    await outside.execute(text("ALTER SYSTEM SET max_wal_size = '96MB'"))
                    await outside.execute(text("ALTER SYSTEM SET min_wal_size = '32MB'"))
        finally:
            embedded.stop()


@asynccontextmanager
async def stage(
    folder: Path, template: Path, *, seed: int, has_small_disk: bool, has_clocks: bool
) -> AsyncIterator[Stage]:
    """Set everything up in a folder, and leave no process behind."""
    async with AsyncExitStack() as stack:
        data = folder / "data"
        disk = stack.enter_context(small_disk(data)) if has_small_disk else None
        shutil.copytree(template / "postgres", data / "postgres")
        env = environment(data, rate=RATE_PER_SECOND)
        # An event that could not be applied comes again within seconds instead of minutes.
        env |= {"CRM_WEBHOOK_RETRY_MINUTES": "0.03,0.06,0.12,0.25,0.5,1"}
        settings = Settings.from_env(env)
        sandbox = stack.enter_context(run_sandbox(_sandbox(settings, seed)))
        embedded = EmbeddedServers(stack.enter_context(claim(data)), postgres=True, redis=True)
        stack.callback(embedded.stop)
        urls = embedded.start()
        redis, postgres = embedded.processes
        database_url, redis_url = str(urls.database_url), str(urls.redis_url)
        worker_cut = await stack.enter_async_context(cut_to(database_url))
        api_cut = await stack.enter_async_context(cut_to(database_url))
        env |= {"CRM_REDIS_URL": redis_url, "CRM_OPENPHONE_BASE_URL": sandbox.url}
        engine = await stack.enter_async_context(
            open_engine(database_url, pool_size=8, application=OURS)
        )
        provider = await stack.enter_async_context(
            httpx.AsyncClient(base_url=sandbox.url, timeout=60)
        )
        user = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=settings.public_base_url,
                headers={"Authorization": f"Bearer {ADMIN_KEY}"},
                timeout=15,
            )
        )
        library = find_clock_library() if has_clocks else None
        worker_clock, api_clock = (
            _clock(folder, "worker", library),
            _clock(folder, "serve", library),
        )
        worker = _program("worker", env, worker_cut.url(database_url), folder, worker_clock)
        api = _program("serve", env, api_cut.url(database_url), folder, api_clock)
        stack.callback(worker.kill)
        stack.callback(api.kill)
        chance = random.Random(f"{seed} chaos")  # noqa: S311 - repeatable, no secret
        crowd = Crowd(
            engine=engine, api=user, sandbox=provider, chance=chance, campaign_size=CAMPAIGN_SIZE
        )
        yield Stage(
            folder=folder,
            settings=settings.model_copy(
                update={"database_url": database_url, "redis_url": redis_url}
            ),
            engine=engine,
            provider=provider,
            sandbox=sandbox,
            postgres=postgres,
            redis=redis,
            redis_url=redis_url,
            worker=worker,
            api=api,
            user=user,
            worker_cut=worker_cut,
            api_cut=api_cut,
            crowd=crowd,
            traffic=Traffic(
                engine=engine, api=user, provider=provider, chance=chance, people=PEOPLE
            ),
            disk=disk,
            worker_clock=worker_clock,
            api_clock=api_clock,
        )


def _sandbox(settings: Settings, seed: int) -> SandboxConfig:
    return SandboxConfig(
        webhook_url=f"{settings.public_base_url}/webhooks/openphone",
        signing_key=settings.sandbox_signing_key(),
        people=PEOPLE_WEIGHTS,
        seed=seed,
        time_scale=TIME_SCALE,
        delivered_after_seconds=(0.0, 1.5 / TIME_SCALE),
        replied_after_seconds=(0.3 / TIME_SCALE, 3.0 / TIME_SCALE),
        rate_per_second=None,
        list_delay_seconds=1.5,
        webhook_timeout_seconds=3.0,
        lines=LINES,
    )


def _clock(folder: Path, name: str, library: Path | None) -> Clock | None:
    if library is None:
        return None
    clock = Clock(library, folder / f"{name}.clock")
    clock.step(0)
    return clock


def _program(
    command: str, env: dict[str, str], database_url: str, folder: Path, clock: Clock | None
) -> Program:
    own = {**env, "CRM_DATABASE_URL": database_url, **(clock.variables if clock else {})}
    return Program(command, own, folder / f"{command}.log")
