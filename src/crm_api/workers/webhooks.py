"""Apply what the provider told."""

import time
from typing import Any

from crm_api import clock, failpoints
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.reception import Reception
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import deps_of

BATCH = 100
"""Events a transaction: applied together in some 50 ms, so that what they lock is soon free."""
WORKING_SECONDS = 40.0
"""Well within the job's time-out; then another run goes on."""
GO_ON_SECONDS = 0.5


async def process_webhook_backlog(ctx: dict[str, Any]) -> dict[str, object] | None:
    """Apply stored events, batch by batch, until none is due; a second run changes nothing."""
    deps = deps_of(ctx)
    reception = Reception.from_settings(deps.settings)
    until = time.monotonic() + WORKING_SECONDS
    total = 0
    while not deps.is_stopping and time.monotonic() < until:
        async with deps.new_uow() as uow:
            applied = await webhooks.apply_batch(
                uow, limit=BATCH, now=clock.now(), reception=reception
            )
            await failpoints.reach("webhook.open")
        await failpoints.reach("webhook.committed")
        if not applied:
            break
        total += applied
    else:
        await deps.queue.push(
            Job(name=JobName.PROCESS_WEBHOOK_BACKLOG, delay_seconds=GO_ON_SECONDS)
        )
    return {"applied": total} if total else None
