"""Whether a worker does what this release has to do, and whether one consumes the queue."""

import asyncio
from typing import Any, cast

from arq.connections import create_pool
from arq.constants import health_check_key_suffix

from crm_api import clock
from crm_api.cli.findings import Check, State
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.operations import heartbeats
from crm_api.domain.operations.schemas import WorkerState
from crm_api.processes import StartError
from crm_api.settings import Settings
from crm_api.signing import NO_QUEUE
from crm_api.workers import registration
from crm_api.workers.deps import Deps
from crm_api.workers.queue import QUEUE_NAME, redis_settings
from crm_api.workers.worker import build_worker

LOOKS = 3
"""A busy worker renews its sign in Redis a little late; a second lies between two looks."""


async def check_workers(settings: Settings) -> list[Check]:
    """Check that a worker does what this release has to do, and that one consumes the queue.

    Raises:
        SettingsError: No database or no Redis is named.
    """
    try:
        # What it would work with is of no account for what it would do.
        registration.require(build_worker(settings, cast("Deps", None)), settings)
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
    """Tell whether a worker has said in Redis, as it does every ten seconds, that it listens."""
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
    """Turn what is known of the workers into a line."""
    if alive and is_consumed:
        return Check("worker", State.OK, f"{alive} at work")
    if alive:
        advice = (
            f"{alive} at work, but none consumes the queue of this Redis: give API and workers the "
            "same CRM_REDIS_URL"
        )
        return Check("worker", State.BROKEN, advice)
    if is_consumed:
        advice = (
            "one consumes the queue, but none is at work on this database: give API and workers "
            "the same CRM_DATABASE_URL"
        )
        return Check("worker", State.BROKEN, advice)
    advice = "none consumes the queue, so nothing is sent or applied: start `crm-api worker`"
    return Check("worker", State.WARNING, advice)
