"""Set up a crash run, run it, and judge its result."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import text
from tests.crash.crash_run import CrashRun, Size
from tests.crash.crowd import PEOPLE_WEIGHTS, Crowd
from tests.crash.forks import zygote
from tests.crash.harness import ADMIN_KEY, environment
from tests.crash.holders import record_holders
from tests.crash.kills import Kill
from tests.crash.servers import OWN_APPLICATION, Servers, restart
from tests.crash.verdict import Verdict, judge
from tests.prepared_cluster import copy_cluster

from crm_api.dev.embedded_servers import EmbeddedServers
from crm_api.dev.sandbox.app import run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.server_processes import Server
from crm_api.platform.data_dir import claim
from crm_api.platform.database import open_engine
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.settings import Settings

LIST_DELAY_SECONDS = 1.5
"""Delay after which the sandbox lists a new message. The grace of 10 s must be longer than the sum
of this delay, the longest call (4.3 s) and twice the clock skew (2 s)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The kills of a crash run, and the verdict on all recipients."""

    kills: list[Kill]
    verdict: Verdict


async def run_crash_test(
    folder: Path, *, seed: int, size: Size, report: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Run a whole crash test and judge its result.

    The evidence of faults is also written to ``evidence.json``.
    """
    async with open_crash_run(folder, seed=seed, size=size) as crash_run:
        reporting = asyncio.create_task(crash_run.report_progress(report))
        await crash_run.prepare()
        await crash_run.kill_until_counted()
        await crash_run.wait_until_quiet()
        reporting.cancel()
        verdict = await judge(
            crash_run.engine, crash_run.provider, evidence=folder / "evidence.json"
        )
        verdict.faults += crash_run.unexpected
        return Outcome(kills=crash_run.kills, verdict=verdict)


@asynccontextmanager
async def open_crash_run(folder: Path, *, seed: int, size: Size) -> AsyncIterator[CrashRun]:
    """Start PostgreSQL, Redis and the sandbox for a crash run.

    All processes end when the block ends.
    """
    env = environment(folder, rate=size.rate_per_second)
    settings = Settings.from_env(env)
    config = SandboxConfig(
        webhook_url=f"{settings.public_base_url}/webhooks/openphone",
        signing_key=settings.sandbox_signing_key(),
        people=PEOPLE_WEIGHTS,
        seed=seed,
        time_scale=0.5,
        delivered_after_seconds=(0.0, 3.0),
        replied_after_seconds=(0.5, 8.0),
        rate_per_second=None,
        list_delay_seconds=LIST_DELAY_SECONDS,
    )
    copy_cluster(folder)
    with claim(folder) as held, run_sandbox(config) as sandbox:
        embedded = EmbeddedServers(held, postgres=True, redis=True)
        try:
            urls = embedded.start()
            redis, postgres = embedded.processes
            database_url, redis_url = str(urls.database_url), str(urls.redis_url)
            await _prepare(database_url, postgres)
            env |= {"CRM_REDIS_URL": redis_url, "CRM_OPENPHONE_BASE_URL": sandbox.url}
            async with AsyncExitStack() as stack:
                engine = await stack.enter_async_context(
                    open_engine(database_url, pool_size=8, application=OWN_APPLICATION)
                )
                provider = await stack.enter_async_context(
                    httpx.AsyncClient(base_url=sandbox.url, timeout=60)
                )
                api = await stack.enter_async_context(_open_client(settings.public_base_url))
                yield CrashRun(
                    size=size,
                    seed=seed,
                    port=settings.port,
                    engine=engine,
                    forking=await stack.enter_async_context(
                        zygote(folder, env, database_url=database_url)
                    ),
                    servers=Servers(
                        engine=engine,
                        postgres=postgres,
                        redis=redis,
                        redis_url=redis_url,
                        redis_pid_file=folder / "redis" / "redis.pid",
                    ),
                    crowd=Crowd(
                        engine=engine,
                        api=api,
                        sandbox=provider,
                        chance=random.Random(f"{seed} crowd"),  # noqa: S311 - repeatable, no secret
                        campaign_size=size.campaign_size,
                    ),
                    provider=provider,
                )
        finally:
            embedded.stop()


def _open_client(url: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=15)


async def _prepare(database_url: str, postgres: Server) -> None:
    """Create the tables; make PostgreSQL store each attempt's process and each commit's time."""
    await upgrade(database_url)
    async with open_engine(database_url, pool_size=1) as engine:
        await record_holders(engine)
        async with engine.connect() as connection:
            outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await outside.execute(text("ALTER SYSTEM SET track_commit_timestamp = on"))
    await asyncio.to_thread(restart, postgres)
