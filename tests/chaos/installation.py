"""An installation of the service on one machine, with simulated people and users.

The worker and the API reach PostgreSQL through proxies, unless they run under `crm-api up`.
"""

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.chaos.decisions import Decided
from tests.chaos.machine import Clock, Disk, Need, find_clock_library, small_disk
from tests.chaos.parts import STARTS_WITHIN_SECONDS, Parts, Up
from tests.chaos.proxy import proxy_to
from tests.chaos.status_changes import record_status_changes
from tests.chaos.traffic import Traffic
from tests.crash.crowd import PEOPLE_WEIGHTS, Crowd
from tests.crash.harness import ADMIN_KEY, Program, environment
from tests.crash.holders import record_holders
from tests.crash.servers import OWN_APPLICATION
from tests.prepared_cluster import copy_cluster

from crm_api.dev.embedded_servers import EmbeddedServers
from crm_api.dev.sandbox.app import RunningSandbox, run_sandbox
from crm_api.dev.sandbox.config import OwnLine, SandboxConfig
from crm_api.platform.data_dir import claim
from crm_api.platform.database import open_engine
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.settings import Settings

RATE_PER_SECOND = 12.0
PEOPLE = 3_000
CAMPAIGN_SIZE = 60
BACKLOG = 150
"""A new campaign starts when fewer recipients than this wait. The number is larger than the number
of recipients who can wait because of the two caps below."""
LINE_CAP = 20
"""Daily limit of the one line that has a low limit."""
CAMPAIGN_CAP = 15
LINES = tuple(
    OwnLine(id=f"PNsandbox{number}", number=f"+1617555010{number}", name=f"Line {number}")
    for number in (1, 2, 3)
)
SHORT_LIVED = httpx.Limits(keepalive_expiry=1.0)
"""Limits of the client that calls the sandbox: it closes a connection that was idle for one second.
The sandbox closes a connection that was idle for five seconds. On a busy machine, a request
could arrive at that moment and fail."""
TIME_SCALE = 0.004
"""Factor for the sandbox's waiting times. The provider retries a webhook after 5 s, 5 min and 30
min; the sandbox retries it after 0.02, 1.2 and 7.2 s."""


@dataclass(kw_only=True)
class Installation:
    """The installation of the service in which the faults happen."""

    folder: Path
    settings: Settings
    engine: AsyncEngine
    provider: httpx.AsyncClient
    sandbox: RunningSandbox
    machine: Parts | Up
    redis_url: str
    user: httpx.AsyncClient
    crowd: Crowd
    traffic: Traffic
    capped_line: str = ""
    capped: list[str] = field(default_factory=list)
    """Ids of the campaigns that cannot end today because of a daily limit."""
    unexpected: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """Wrong behaviour of the service that was seen during a fault, as sentences."""
    reported: list[str] = field(default_factory=list)
    """What the service reported about the fault. The table of the run shows it."""
    refused_calls: int | None = None
    """How often the provider refused a request because of the account; None if it never had to."""
    decided: Decided | None = None
    """The people who opted out and in while the API's clock was wrong; None without this fault."""

    @property
    def parts(self) -> Parts:
        """The servers and programs of the installation, if the test started each of them itself."""
        if not isinstance(self.machine, Parts):
            raise TypeError("this installation runs under `crm-api up`")
        return self.machine

    @property
    def up(self) -> Up:
        """The program `crm-api up`, if the installation runs under it."""
        if not isinstance(self.machine, Up):
            raise TypeError("this installation does not run under `crm-api up`")
        return self.machine

    async def start_first_campaigns(self) -> None:
        """Create the people, and start three campaigns. A daily limit stops two of them."""
        await self.wait_until_ready()
        await self.crowd.create_people(PEOPLE)
        self.capped_line = self.crowd.lines.pop()
        await self.crowd.ask("PATCH", f"/v1/lines/{self.capped_line}", {"daily_limit": LINE_CAP})
        pacing = {"daily_limit": CAMPAIGN_CAP, "mode": "burst"}
        pacing |= {"batch_size": 100_000, "batch_interval_minutes": 1}
        self.capped = [
            await self.crowd.start_campaign(line=self.capped_line),
            await self.crowd.start_campaign(pacing=pacing),
        ]
        await self.crowd.start_campaign()

    async def wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            self.machine.check()
            with contextlib.suppress(httpx.TransportError):
                if (await self.user.get("/readyz")).is_success:
                    return
            await asyncio.sleep(0.05)
        raise TimeoutError("the API is not ready")

    async def cancel_capped_campaigns(self) -> None:
        """Cancel the campaigns that cannot end today because of a daily limit."""
        for campaign in self.capped:
            await self.crowd.move(campaign, "cancel")

    async def empty_redis(self) -> None:
        async with Redis.from_url(self.redis_url) as redis:
            await redis.flushall()

    async def add_provider_fault(self, kind: str, **more: object) -> None:
        """Make the provider fail from now on.

        By default, every request to send a message fails. ``more`` can limit the fault, or apply it
        to other requests.
        """
        body = {"kind": kind, "on": "send"} | (more or {"probability": 1.0})
        if not {"probability", "count"} & body.keys():
            body["probability"] = 1.0
        (await self.provider.post("/sandbox/faults", json=body)).raise_for_status()

    async def clear_provider_faults(self) -> None:
        (await self.provider.delete("/sandbox/faults")).raise_for_status()


async def make_template(folder: Path) -> None:
    """Create a data directory whose database has all tables.

    Each installation gets a copy of it.
    """
    copy_cluster(folder)
    with claim(folder) as held:
        embedded = EmbeddedServers(held, postgres=True, redis=False)
        try:
            url = str(embedded.start().database_url)
            await upgrade(url)
            async with open_engine(url, pool_size=1) as engine:
                await record_holders(engine, has_names=False)
                await record_status_changes(engine)
                async with engine.connect() as connection:
                    outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
                    await outside.execute(text("ALTER SYSTEM SET track_commit_timestamp = on"))
                    await outside.execute(text("ALTER SYSTEM SET max_wal_size = '96MB'"))
                    await outside.execute(text("ALTER SYSTEM SET min_wal_size = '32MB'"))
        finally:
            embedded.stop()


@asynccontextmanager
async def open_installation(
    folder: Path, template: Path, *, seed: int, needs: Collection[Need]
) -> AsyncIterator[Installation]:
    """Start an installation in a folder, and end all its processes when the block ends."""
    async with AsyncExitStack() as stack:
        data = folder / "data"
        disk = stack.enter_context(small_disk(data)) if Need.SMALL_DISK in needs else None
        data.mkdir(mode=0o711, exist_ok=True)
        shutil.copytree(template / "postgres", data / "postgres")
        env = environment(data, rate=RATE_PER_SECOND)
        # If an event could not be applied, the service retries it within seconds instead of
        # minutes.
        env |= {"CRM_WEBHOOK_RETRY_MINUTES": "0.03,0.06,0.12,0.25,0.5,1"}
        settings = Settings.from_env(env)
        sandbox = stack.enter_context(run_sandbox(_sandbox(settings, seed)))
        env |= {"CRM_OPENPHONE_BASE_URL": sandbox.url}
        machine: Parts | Up
        if Need.UP in needs:
            machine, database_url, redis_url = await _up(stack, env, folder)
        else:
            machine, database_url, redis_url = await _parts(stack, env, folder, disk, needs)
        engine = await stack.enter_async_context(
            open_engine(database_url, pool_size=8, application=OWN_APPLICATION)
        )
        provider = await stack.enter_async_context(
            httpx.AsyncClient(base_url=sandbox.url, timeout=60, limits=SHORT_LIVED)
        )
        user = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=settings.public_base_url,
                headers={"Authorization": f"Bearer {ADMIN_KEY}"},
                timeout=15,
            )
        )
        chance = random.Random(f"{seed} chaos")  # noqa: S311 - repeatable, no secret
        crowd = Crowd(
            engine=engine, api=user, sandbox=provider, chance=chance, campaign_size=CAMPAIGN_SIZE
        )
        yield Installation(
            folder=folder,
            settings=settings.model_copy(
                update={"database_url": database_url, "redis_url": redis_url}
            ),
            engine=engine,
            provider=provider,
            sandbox=sandbox,
            machine=machine,
            redis_url=redis_url,
            user=user,
            crowd=crowd,
            traffic=Traffic(
                engine=engine, api=user, provider=provider, chance=chance, people=PEOPLE
            ),
        )


async def _parts(
    stack: AsyncExitStack,
    env: dict[str, str],
    folder: Path,
    disk: Disk | None,
    needs: Collection[Need],
) -> tuple[Parts, str, str]:
    """Start each server and program; return them and the URLs of PostgreSQL and Redis."""
    data = Path(env["CRM_DATA_DIR"])
    embedded = EmbeddedServers(stack.enter_context(claim(data)), postgres=True, redis=True)
    stack.callback(embedded.stop)
    urls = embedded.start()
    redis, postgres = embedded.processes
    database_url, redis_url = str(urls.database_url), str(urls.redis_url)
    env = env | {"CRM_REDIS_URL": redis_url}
    worker_proxy = await stack.enter_async_context(proxy_to(database_url))
    api_proxy = await stack.enter_async_context(proxy_to(database_url))
    worker_clock = _clock(folder, "worker") if Need.CLOCKS in needs else None
    api_clock = _clock(folder, "serve") if {Need.CLOCKS, Need.API_CLOCK} & {*needs} else None
    parts = Parts(
        data=data,
        postgres=postgres,
        redis=redis,
        worker=_program("worker", env, worker_proxy.url(database_url), folder, worker_clock),
        api=_program("serve", env, api_proxy.url(database_url), folder, api_clock),
        worker_proxy=worker_proxy,
        api_proxy=api_proxy,
        disk=disk,
        worker_clock=worker_clock,
        api_clock=api_clock,
    )
    stack.callback(parts.worker.kill)
    stack.callback(parts.api.kill)
    parts.start()
    return parts, database_url, redis_url


async def _up(stack: AsyncExitStack, env: dict[str, str], folder: Path) -> tuple[Up, str, str]:
    """Start `crm-api up`; return it and the URLs of its PostgreSQL and Redis."""
    up = Up(data=Path(env["CRM_DATA_DIR"]), program=Program("up", env, folder / "up.log"))
    stack.callback(up.kill_everything)
    up.start()
    return up, *await up.urls()


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


def _clock(folder: Path, name: str) -> Clock | None:
    library = find_clock_library()
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
