"""The processes that benchmarks measure: a worker that sends, the bare client, the sandbox.

The commands are ``python -m benchmarks.sender worker [RUNS]``, ``python -m benchmarks.sender floor
COUNT`` and ``python -m benchmarks.sender sandbox PORT``. A sender warms up, prints ``ready``, waits
for a line on its input, works, and prints its measurements as JSON.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import cast

import aiohttp
import httpx
import psutil
import uvicorn
import uvloop
from httpx_aiohttp import AiohttpTransport
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks import population
from benchmarks.statements import StatementCounter
from crm_api.dev.sandbox.app import create_sandbox, server_config
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import KEEPALIVE_SECONDS, SANDBOX_KEY, open_provider
from crm_api.platform import lifetimes, logs
from crm_api.platform.database import UnitOfWork, create_engine, session_factory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue
from crm_api.workers.deps import Deps

WARM_UP_CALLS = 500
FLOOR_CONNECTIONS = 64
SOON_SECONDS = 1.0


class Nudges:
    """The job queue of a single worker. It stores whether the worker's own job must run again."""

    def __init__(self) -> None:
        self.is_asked = False

    async def push(self, job: Job) -> None:
        """Store that the job must run again, if the job has no delay."""
        is_own = job.name in {JobName.PROCESS_CAMPAIGN_QUEUE, JobName.PROCESS_WEBHOOK_BACKLOG}
        if is_own and job.delay_seconds < SOON_SECONDS:
            self.is_asked = True

    async def ping(self) -> bool:
        """Return True."""
        return True


async def measured(work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Print ``ready``, wait for a line on the input, do the work, and return the measurements."""
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    begun, cpu = time.perf_counter(), time.process_time()
    await work()
    return {
        "wall": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "rss_mb": psutil.Process().memory_info().rss / 1e6,
    }


async def run_floor(count: int) -> None:
    """Post the campaign's messages with httpx over aiohttp, and nothing else.

    This client shares no code with the client of the worker. So if the worker's client becomes
    faster, the ratio of the two speeds improves.
    """
    settings = Settings.from_env(os.environ)

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=FLOOR_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS
            )
        )

    http = httpx.AsyncClient(
        base_url=settings.provider_url,
        headers={"authorization": SANDBOX_KEY},
        transport=AiohttpTransport(client=session),
        timeout=60,
    )

    async def post(count: int) -> None:
        positions = iter(range(count))

        async def caller() -> None:
            for position in positions:
                to = [population.phone(position)]
                message = {"from": population.LINES[0], "to": to}
                answer = await http.post(
                    "/v1/messages", json={"content": population.body(position), **message}
                )
                answer.raise_for_status()
                answer.json()

        await asyncio.gather(*(caller() for _ in range(FLOOR_CONNECTIONS)))

    await post(WARM_UP_CALLS)
    print(json.dumps(await measured(lambda: post(count))))
    await http.aclose()


async def open_deps(settings: Settings, stack: AsyncExitStack) -> tuple[Deps, AsyncEngine]:
    """Return the dependencies of the worker's jobs and the engine; the stack closes them."""
    engine = create_engine(settings.require_database_url(), application="bench worker")
    stack.push_async_callback(engine.dispose)
    provider = open_provider(settings)
    stack.push_async_callback(provider.aclose)
    sessions = session_factory(engine)
    queue = Nudges()
    deps = Deps(
        settings=settings,
        new_uow=lambda: UnitOfWork(sessions, queue),
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=settings.openphone_rate_per_second),
        times=SendTimes.from_settings(settings),
        rules=load_rules(settings.rules_name),
        secret=settings.require_secret_key(),
    )
    return deps, engine


async def run_worker(runs: int | None) -> None:
    """Run the worker's job ``runs`` times, or until no message waits."""
    async with AsyncExitStack() as stack:
        deps, engine = await open_deps(Settings.from_env(os.environ), stack)
        counter = StatementCounter(engine)
        nudges = cast("Nudges", deps.queue)

        async def work(runs: int | None) -> None:
            done, nudges.is_asked = 0, True
            counter.clear()
            while nudges.is_asked and done != runs:
                nudges.is_asked = False
                await process_campaign_queue({"deps": deps})
                done += 1

        await work(None)
        figures = await measured(lambda: work(runs))
        print(json.dumps({**figures, "statements": counter.counts}))


def serve_sandbox(port: int) -> None:
    """Run a sandbox without a rate limit. Its people do nothing after a message."""
    config = SandboxConfig(people="silent", rate_per_second=None)
    uvicorn.Server(server_config(create_sandbox(config), port=port)).run()


def _main(mode: str, number: str | None) -> None:
    # Hide the sandbox's banner, which is a warning.
    logs.configure(level="ERROR" if mode == "sandbox" else "WARNING")
    if mode == "sandbox":
        serve_sandbox(int(number or 0))
        return
    lifetimes.tune_garbage_collection()
    if mode == "floor":
        uvloop.run(run_floor(int(number or 0)))
    else:
        uvloop.run(run_worker(int(number) if number else None))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)  # noqa: PLR2004
