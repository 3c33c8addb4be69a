"""Values that are older than their field's definition, brought into its writing."""

import time
from typing import Any

from crm_api import clock
from crm_api.domain.custom_fields import service as custom_fields
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import deps_of

WORKING_SECONDS = 30.0


async def apply_custom_fields(ctx: dict[str, Any]) -> None:
    """Rewrite chunk by chunk until no field waits; a second run changes nothing."""
    deps = deps_of(ctx)
    until = time.monotonic() + WORKING_SECONDS
    while not deps.is_stopping and time.monotonic() < until:
        async with deps.new_uow() as uow:
            is_at_work = await custom_fields.apply_chunk(uow, now=clock.now())
        if not is_at_work:
            return
    await deps.queue.push(Job(name=JobName.APPLY_CUSTOM_FIELDS))
