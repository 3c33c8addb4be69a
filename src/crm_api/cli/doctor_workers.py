"""`crm-api doctor`: check that a worker fits this release, and that one reads the queue."""

import asyncio
from typing import Any, cast

from arq.connections import create_pool
from arq.constants import health_check_key_suffix

from crm_api.cli.findings import Check, State
from crm_api.domain.inbound.webhook_setup.signing import NO_QUEUE
from crm_api.domain.monitoring.scheduled_jobs import heartbeats
from crm_api.domain.monitoring.scheduled_jobs.schemas import WorkerState
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings
from crm_api.workers import schedule
from crm_api.workers.deps import Deps
from crm_api.workers.queue import QUEUE_NAME, redis_settings
from crm_api.workers.worker import build_worker

LOOKS = 3
"""A busy worker renews its sign in Redis a little late. Two looks are a second apart."""


async def check_workers(settings: Settings) -> list[Check]:
    """Check that a worker would run every job of this release, and that one reads the queue.

    Raises:
        SettingsError: No database or no Redis is set.
    """
    try:
        # The jobs are only listed, so no dependencies are needed.
        schedule.require_schedule(build_worker(settings, cast("Deps", None)), settings)
    except StartError as error:
        return [Check("worker", State.BROKEN, str(error))]
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        UnitOfWork(session_factory(engine), NO_QUEUE) as uow,
    ):
        workers = await heartbeats.list_workers(uow, now=clock.now())
    alive = sum(one.state is WorkerState.ALIVE for one in workers)
    return [judge_workers(alive, is_consumed=await _is_consumed(settings.require_redis_url()))]


async def _is_consumed(redis_url: str) -> bool:
    """Return True if a worker's sign is in Redis; a worker renews it every ten seconds."""
    pool: Any = await create_pool(redis_settings(redis_url))
    try:
        for _ in range(LOOKS):
            if await pool.get(QUEUE_NAME + health_check_key_suffix) is not None:
                return True
            await asyncio.sleep(1)
    finally:
        await pool.aclose(close_connection_pool=True)
    return False


def judge_workers(alive: int, *, is_consumed: bool) -> Check:
    """Turn what is known about the workers into a line of the report."""
    if alive and is_consumed:
        return Check("worker", State.OK, f"{alive} running")
    if alive:
        advice = (
            f"{alive} running, but none reads the queue of this Redis: give API and workers the "
            "same CRM_REDIS_URL"
        )
        return Check("worker", State.BROKEN, advice)
    if is_consumed:
        advice = (
            "one reads the queue, but none runs on this database: give API and workers "
            "the same CRM_DATABASE_URL"
        )
        return Check("worker", State.BROKEN, advice)
    advice = "none reads the queue, so nothing is sent or applied: start `crm-api worker`"
    return Check("worker", State.WARNING, advice)
