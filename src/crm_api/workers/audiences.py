"""Writes audiences down: the first chunk with the queue, the rest of a large one in its own job.

Nearly every audience is one chunk and whole before the queue goes on. What is left of a larger one
takes half a minute for a million people, during which other campaigns go on sending.
"""

import time
from typing import Any
from uuid import UUID

import structlog

from crm_api import clock, failpoints
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.progress import CHUNK, Written
from crm_api.jobs import Job, JobName
from crm_api.workers import clocks
from crm_api.workers.deps import Deps, deps_of

log = structlog.get_logger()

SLICE_SECONDS = 40.0
"""A run stops after about this long and asks for another, well within the job's time-out."""
HELD_SECONDS = 2.0
"""Where all that waits is held by others, it is looked again after this: one that writes may be
lost, one that changes the campaign is done."""
_CONTINUE = Job(name=JobName.WRITE_AUDIENCES)


async def write_first_chunks(deps: Deps, *, size: int = CHUNK) -> None:
    """Write the first chunk of every audience that waits; asks for the job that writes the rest."""
    async with deps.new_uow() as uow:
        waiting = await campaigns.list_unwritten(uow, only_new=True)
    written = [await _write_chunk(deps, campaign_id, size) for campaign_id in waiting]
    if any(written):
        await _refresh_statistics(deps)
    if not all(one is not None and one.is_whole for one in written):
        await deps.queue.push(_CONTINUE)


async def write_audiences(ctx: dict[str, Any], *, size: int = CHUNK) -> None:
    """Write down what is left of audiences, a chunk each in turn, until all are whole.

    Safe to run twice and on any number of workers: the campaign's row says how far it is.
    """
    deps = deps_of(ctx)
    if not await clocks.agrees(deps):
        return
    ends_at = time.monotonic() + SLICE_SECONDS
    while not deps.is_stopping:
        async with deps.new_uow() as uow:
            waiting = await campaigns.list_unwritten(uow)
        if not waiting:
            return
        written = [await _write_chunk(deps, campaign_id, size) for campaign_id in waiting]
        if any(one is not None and one.is_whole for one in written):
            await _refresh_statistics(deps)
            await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
        if not any(written):
            await deps.queue.push(Job(name=_CONTINUE.name, delay_seconds=HELD_SECONDS))
            return
        if time.monotonic() >= ends_at:
            await deps.queue.push(_CONTINUE)
            return


async def _write_chunk(deps: Deps, campaign_id: UUID, size: int) -> Written | None:
    async with deps.new_uow() as uow:
        written = await campaigns.write_chunk(
            uow, campaign_id=campaign_id, limit=size, now=clock.now()
        )
        await failpoints.reach("audience.open")
    if written is not None and written.is_whole:
        log.info("audience written down", campaign_id=str(campaign_id))
    return written


async def _refresh_statistics(deps: Deps) -> None:
    async with deps.new_uow() as uow:
        await campaigns.refresh_statistics(uow)
