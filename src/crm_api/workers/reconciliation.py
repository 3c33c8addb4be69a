"""Compare with the provider in the background: each night, after an outage, and when asked."""

import time
from typing import Any

from crm_api import clock
from crm_api.domain.reconciliation import service as runs
from crm_api.domain.reconciliation import walking
from crm_api.domain.reconciliation.walking import Parts
from crm_api.domain.webhooks.reception import Reception
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import deps_of
from crm_api.workers.reads import reading

SLICE_SECONDS = 30.0
"""A run stops after about this long and asks for another, well within the job's time-out."""
WAIT_MARGIN_SECONDS = 0.5
BACKLOG_SECONDS = 15.0
"""After this it is looked again whether what was received has been applied."""


async def reconcile_openphone(ctx: dict[str, Any]) -> None:
    """Make the runs that are due, and work on what waits; a second run changes nothing."""
    deps = deps_of(ctx)
    ends_at = time.monotonic() + SLICE_SECONDS

    def is_over() -> bool:
        return deps.is_stopping or time.monotonic() >= ends_at

    async with deps.new_uow() as uow:
        await runs.make_daily(uow, now=clock.now())
        await runs.make_after_gap(uow, now=clock.now())
        must_wait = await runs.must_wait(uow, now=clock.now())
    if must_wait:
        await deps.queue.push(Job(name=JobName.RECONCILE_OPENPHONE, delay_seconds=BACKLOG_SECONDS))
        return
    parts = Parts(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        reception=Reception.from_settings(deps.settings),
        now=clock.now,
        around=lambda: reading(deps),
    )
    while not is_over():
        worked = await walking.work(parts, is_over=is_over)
        if worked is None:
            return
        if worked.wait is not None:
            delay = worked.wait.total_seconds() + WAIT_MARGIN_SECONDS
            await deps.queue.push(Job(name=JobName.RECONCILE_OPENPHONE, delay_seconds=delay))
            return
