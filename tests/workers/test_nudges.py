"""A nudge is never swallowed by the run before it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps
from crm_api.workers.queue import ArqJobQueue
from crm_api.workers.worker import build_worker

# arq 0.28 calls a name that redis 5 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")

Runs = asyncio.Queue[None]
SOON_SECONDS = 5.0
"""Far less than the minute after which the schedule would run the job."""


@pytest_asyncio.fixture
async def queue_and_runs(
    settings: Settings, committed_uow: Callable[[], UnitOfWork], provider: OpenPhoneClient
) -> AsyncIterator[tuple[ArqJobQueue, Runs]]:
    """A worker with one function that only reports that it ran."""
    runs: Runs = asyncio.Queue()

    async def report(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - what a job is given
        runs.put_nowait(None)

    queue = ArqJobQueue(settings.require_redis_url())
    deps = Deps(
        settings=settings,
        new_uow=committed_uow,
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=8),
        times=SendTimes.from_settings(settings),
        rules=NO_RULES,
        secret=settings.require_secret_key(),
    )
    worker = build_worker(settings, deps, {JobName.SEND_MESSAGES: report})
    working = asyncio.create_task(worker.async_run())
    yield queue, runs
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    with suppress(asyncio.CancelledError):  # a job that had just begun
        await worker.close()
    await queue.close()


async def test_every_nudge_after_a_run_is_another_run(
    queue_and_runs: tuple[ArqJobQueue, Runs],
) -> None:
    queue, runs = queue_and_runs
    await asyncio.wait_for(runs.get(), SOON_SECONDS)

    for _ in range(5):
        await queue.push(Job(name=JobName.SEND_MESSAGES))
        await asyncio.wait_for(runs.get(), SOON_SECONDS)


async def test_nudges_at_once_are_few_runs(queue_and_runs: tuple[ArqJobQueue, Runs]) -> None:
    queue, runs = queue_and_runs
    await asyncio.wait_for(runs.get(), SOON_SECONDS)

    await asyncio.gather(*(queue.push(Job(name=JobName.SEND_MESSAGES)) for _ in range(100)))
    await asyncio.wait_for(runs.get(), SOON_SECONDS)

    assert runs.qsize() < 5
