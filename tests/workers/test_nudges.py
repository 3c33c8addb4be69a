"""A nudge (request to run a job soon) causes a run even if another run has just ended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import create_pool

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers import guards
from crm_api.workers import worker as process
from crm_api.workers.deps import Deps
from crm_api.workers.job_runs import JobFunction
from crm_api.workers.queue import QUEUE_NAME, ArqJobQueue, open_queue, redis_settings, serialize
from crm_api.workers.worker import build_worker

# arq 0.28 calls the method `close`, which version 5 of the library redis has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")

Runs = asyncio.Queue[None]
SOON_SECONDS = 20.0
"""Time limit for a run after a nudge; much less than the minute between scheduled runs."""


def deps_with(
    queue: ArqJobQueue,
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    provider: OpenPhoneClient,
) -> Deps:
    return Deps(
        settings=settings,
        new_uow=new_uow,
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=8),
        times=SendTimes.from_settings(settings),
        rules=NO_RULES,
        secret=settings.require_secret_key(),
    )


def reporting_job() -> tuple[JobFunction, Runs]:
    """Return a job, and the queue into which each of its runs puts an entry."""
    runs: Runs = asyncio.Queue()

    async def report(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
        runs.put_nowait(None)

    return report, runs


@pytest_asyncio.fixture
async def queue_and_runs(
    settings: Settings, committed_uow: Callable[[], UnitOfWork], provider: OpenPhoneClient
) -> AsyncIterator[tuple[ArqJobQueue, Runs]]:
    """Run a worker whose only job reports each run; yield its queue and the reported runs."""
    queue = ArqJobQueue(settings.require_redis_url())
    deps = deps_with(queue, settings, committed_uow, provider)
    report, runs = reporting_job()
    worker = build_worker(settings, deps, {JobName.SEND_MESSAGES: report})
    working = asyncio.create_task(worker.async_run())
    yield queue, runs
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    # A job that has just begun is cancelled with the worker.
    with suppress(asyncio.CancelledError):
        await worker.close()
    await queue.close()


async def test_every_nudge_after_a_run_causes_another_run(
    queue_and_runs: tuple[ArqJobQueue, Runs],
) -> None:
    queue, runs = queue_and_runs
    await asyncio.wait_for(runs.get(), SOON_SECONDS)

    for _ in range(5):
        await queue.push(Job(name=JobName.SEND_MESSAGES))
        await asyncio.wait_for(runs.get(), SOON_SECONDS)


async def test_simultaneous_nudges_cause_few_runs(queue_and_runs: tuple[ArqJobQueue, Runs]) -> None:
    queue, runs = queue_and_runs
    await asyncio.wait_for(runs.get(), SOON_SECONDS)

    await asyncio.gather(*(queue.push(Job(name=JobName.SEND_MESSAGES)) for _ in range(100)))
    await asyncio.wait_for(runs.get(), SOON_SECONDS)

    assert runs.qsize() < 5


async def test_runs_planned_with_a_wrong_clock_do_not_block_the_schedule(
    settings: Settings,
    committed_uow: Callable[[], UnitOfWork],
    provider: OpenPhoneClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, runs = reporting_job()
    clock_is_set, stopping = asyncio.Event(), asyncio.Event()
    waits = iter([clock_is_set.wait, asyncio.Event().wait])

    async def wait() -> None:
        await next(waits)()

    monkeypatch.setattr(
        process, "build_worker", partial(build_worker, functions={JobName.SEND_MESSAGES: report})
    )
    monkeypatch.setattr(guards, "wait_until_clock_is_set", wait)
    url = settings.require_redis_url()

    async with open_queue(url) as queue:
        redis = await create_pool(
            redis_settings(url), default_queue_name=QUEUE_NAME, job_serializer=serialize
        )
        deps = deps_with(queue, settings, committed_uow, provider)
        serving = asyncio.create_task(process.serve_queue(settings, deps, stopping))
        await asyncio.wait_for(runs.get(), SOON_SECONDS)
        # The id of a planned run contains its minute. Simulate that a worker whose clock was ahead
        # has planned this run: the run has the right id, but is due too late.
        planned: dict[str, Any] = {"_job_id": "cron:send_messages:1795971600123"}
        late = datetime.now(UTC) + timedelta(hours=1)
        await redis.enqueue_job("cron:send_messages", **planned, _defer_until=late)
        clock_is_set.set()
        # The new worker runs each job at its start.
        await asyncio.wait_for(runs.get(), SOON_SECONDS)
        again = await redis.enqueue_job("cron:send_messages", **planned)
        await asyncio.wait_for(runs.get(), SOON_SECONDS)
        stopping.set()
        await serving
        await redis.aclose(close_connection_pool=True)

    assert again is not None
