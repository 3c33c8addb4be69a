"""Changes of tags that are too large for a request, and counts of a large store."""

import time
from typing import Any

from crm_api import clock
from crm_api.domain.tags import service as tags
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import deps_of

WORKING_SECONDS = 30.0


async def change_tags(ctx: dict[str, Any]) -> None:
    """Work chunk by chunk until no change waits, then count; a second run changes nothing."""
    deps = deps_of(ctx)
    until = time.monotonic() + WORKING_SECONDS
    is_at_work = True
    while is_at_work and not deps.is_stopping and time.monotonic() < until:
        async with deps.new_uow() as uow:
            is_at_work = await tags.work_on(uow, now=clock.now())
    if is_at_work:
        await deps.queue.push(Job(name=JobName.CHANGE_TAGS))
        return
    async with deps.new_uow() as uow:
        await tags.keep_counts(uow, now=clock.now())
