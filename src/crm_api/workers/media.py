"""Fetch the pictures and recordings that events name."""

import asyncio
import time
from typing import Any

from crm_api import clock
from crm_api.domain.media import service as media
from crm_api.domain.media.download import Downloader
from crm_api.domain.media.queries import ClaimedFetch
from crm_api.domain.media.service import Outcome
from crm_api.domain.media.store import MediaStore
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import deps_of

AT_ONCE = 8
"""Downloads side by side: they wait for others' hosts, not for this machine."""
WORKING_SECONDS = 30.0
"""With the longest download and its way into the store well within the job's time-out."""
GO_ON_SECONDS = 0.5


async def fetch_media(ctx: dict[str, Any]) -> None:
    """Fetch what is due, some at once, until nothing is; a second run changes nothing."""
    deps = deps_of(ctx)
    store = MediaStore.from_settings(deps.settings)
    until = time.monotonic() + WORKING_SECONDS
    async with Downloader.from_settings(deps.settings) as downloader:
        while not deps.is_stopping and time.monotonic() < until:
            async with deps.new_uow() as uow:
                claimed = await media.claim(uow, limit=AT_ONCE, now=clock.now())
            if not claimed:
                return
            async with asyncio.TaskGroup() as tasks:
                started = [
                    tasks.create_task(_bring(one, downloader=downloader, store=store))
                    for one in claimed
                ]
                # One after the other as they end: a slow host holds up nobody's row.
                for ended in asyncio.as_completed(started):
                    one, outcome = await ended
                    async with deps.new_uow() as uow:
                        await media.record(uow, one, outcome, now=clock.now())
    await deps.queue.push(Job(name=JobName.FETCH_MEDIA, delay_seconds=GO_ON_SECONDS))


async def _bring(
    claimed: ClaimedFetch, *, downloader: Downloader, store: MediaStore
) -> tuple[ClaimedFetch, Outcome]:
    return claimed, await media.bring(claimed, downloader=downloader, store=store)
