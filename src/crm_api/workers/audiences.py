"""Store the audiences of started campaigns as recipients, chunk by chunk.

The job ``write_audiences`` is separate from the job that sends messages: it takes many seconds to
store a million people, and other campaigns must continue to send.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog

from crm_api.domain.campaigns.audience.storage import (
    CHUNK_PEOPLE,
    ChunkOvertakenError,
    StoredChunk,
    list_unstored_audiences,
    refresh_statistics,
    store_chunk_ahead,
    store_next_chunk,
)
from crm_api.platform import clock, failpoints
from crm_api.platform.jobs import Job, JobName
from crm_api.workers import guards
from crm_api.workers.deps import Deps, TimeLimit, deps_of

log = structlog.get_logger()

WRITING_SECONDS = 40.0
"""The time limit of the job ``write_audiences`` in seconds, well below its timeout."""
HELD_SECONDS = 2.0
"""How many seconds the job waits before it runs again, if other transactions have locked all
campaigns whose audiences must be stored. Most transactions that change a campaign take less
time."""
_CONTINUE = Job(name=JobName.WRITE_AUDIENCES)


async def store_first_chunks(
    deps: Deps, *, size: int = CHUNK_PEOPLE, limit: TimeLimit | None = None
) -> None:
    """Store the first chunk of each new audience.

    If people are left, request the job ``write_audiences``, which stores them.

    Args:
        size: The number of people in a chunk.
        limit: The time limit, after which no further audience is begun; None for no limit.
    """
    async with deps.new_uow() as uow:
        waiting = await list_unstored_audiences(uow, only_new=True)
    written = [
        None
        if limit is not None and limit.is_over()
        else await _store_chunk(deps, campaign_id, size)
        for campaign_id in waiting
    ]
    if any(written):
        await _refresh_statistics(deps)
    if not all(one is not None and one.is_whole for one in written):
        await deps.queue.push(_CONTINUE)


async def write_audiences(ctx: dict[str, Any], *, size: int = CHUNK_PEOPLE) -> None:
    """Store the people of started campaigns as recipients, until all are stored or the time is up.

    The campaigns take turns, with up to two chunks of ``size`` people each. Any number of workers
    can run the job at the same time. If people are left, the job requests its next run.
    """
    deps = deps_of(ctx)
    if not await guards.clock_agrees(deps):
        return
    limit = TimeLimit(deps, seconds=WRITING_SECONDS)
    while not deps.is_stopping:
        async with deps.new_uow() as uow:
            waiting = await list_unstored_audiences(uow)
        if not waiting:
            return
        written = [await _store_chunks(deps, campaign_id, size) for campaign_id in waiting]
        if any(one is not None and one.is_whole for one in written):
            await _refresh_statistics(deps)
            await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
        if not any(written):
            await deps.queue.push(Job(name=_CONTINUE.name, delay_seconds=HELD_SECONDS))
            return
        if limit.is_over():
            await deps.queue.push(_CONTINUE)
            return


async def _store_chunk(
    deps: Deps,
    campaign_id: UUID,
    size: int,
    *,
    begin_next: Callable[[UUID], object] | None = None,
) -> StoredChunk | None:
    async with deps.new_uow() as uow:
        written = await store_next_chunk(
            uow, campaign_id=campaign_id, limit=size, now=clock.now(), begin_next=begin_next
        )
        await failpoints.reach("audience.open")
    if written is not None and written.is_whole:
        log.info("campaign audience stored", campaign_id=str(campaign_id))
    return written


async def _store_chunks(deps: Deps, campaign_id: UUID, size: int) -> StoredChunk | None:
    """Store the next chunk of a campaign's audience, and the following chunk if people are left.

    The audience is the people whom the campaign selects.

    The two chunks are inserted at the same time on two connections, because a connection uses only
    one core of the database. The first chunk is committed before the second.
    """
    is_turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ahead: list[asyncio.Task[StoredChunk | None]] = []

    def begin_next(after: UUID) -> None:
        task = _store_chunk_ahead(deps, campaign_id, size, after=after, is_turn=is_turn)
        ahead.append(asyncio.create_task(task))

    written = None
    try:
        written = await _store_chunk(deps, campaign_id, size, begin_next=begin_next)
    finally:
        is_turn.set_result(written is not None)
        followed = [await task for task in ahead]
    return next((one for one in followed if one is not None), written)


async def _store_chunk_ahead(
    deps: Deps, campaign_id: UUID, size: int, *, after: UUID, is_turn: Awaitable[bool]
) -> StoredChunk | None:
    try:
        async with deps.new_uow() as uow:
            written = await store_chunk_ahead(
                uow,
                campaign_id=campaign_id,
                after=after,
                limit=size,
                now=clock.now(),
                is_turn=is_turn,
            )
            await failpoints.reach("audience.open")
    except ChunkOvertakenError:
        return None
    if written.is_whole:
        log.info("campaign audience stored", campaign_id=str(campaign_id))
    return written


async def _refresh_statistics(deps: Deps) -> None:
    async with deps.new_uow() as uow:
        await refresh_statistics(uow)
