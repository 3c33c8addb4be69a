"""`crm-api doctor`: check that a worker runs and reads the queue, and that no job is missing."""

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
"""How many times, once a second, the health key of a worker is read. A busy worker sets it late."""


async def check_workers(settings: Settings) -> list[Check]:
    """Check that this release has a function for every scheduled job, and that a worker is running.

    Raises:
        SettingsError: CRM_DATABASE_URL or CRM_REDIS_URL is not set.
    """
    try:
        # The jobs are only listed, so they need no dependencies.
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
    """Return whether a worker reads the queue in Redis.

    Such a worker writes its health key in Redis every 10 s.
    """
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
    """Return the result of the check of the workers, which is one line of the report.

    Args:
        alive: The number of workers that have recently stored a heartbeat in the database.
        is_consumed: Whether a worker reads the queue in Redis.
    """
    if alive and is_consumed:
        return Check("worker", State.OK, f"{alive} worker(s) running")
    if alive:
        advice = (
            f"{alive} worker(s) running, but none reads the queue in this Redis; set the same "
            "CRM_REDIS_URL for the API and the workers"
        )
        return Check("worker", State.BROKEN, advice)
    if is_consumed:
        advice = (
            "a worker reads the queue in this Redis, but none uses this database; set the same "
            "CRM_DATABASE_URL for the API and the workers"
        )
        return Check("worker", State.BROKEN, advice)
    advice = (
        "no worker is running, so no message is sent and no event is processed; start "
        "`crm-api worker`"
    )
    return Check("worker", State.WARNING, advice)
