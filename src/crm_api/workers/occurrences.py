"""Job of repeated campaigns: draft their next occurrences."""

from collections.abc import Mapping
from typing import Any

from crm_api.domain.campaigns.drafts.occurrences import draft_due_occurrences
from crm_api.platform import clock
from crm_api.workers import guards
from crm_api.workers.deps import TimeLimit, deps_of


async def draft_occurrences(ctx: dict[str, Any]) -> Mapping[str, int]:
    """For each repeated campaign, draft the occurrences whose start is in the next two weeks."""
    deps = deps_of(ctx)
    drafted = 0
    if not await guards.clock_agrees(deps):
        return {"drafted": drafted}
    limit = TimeLimit(deps)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            done = await draft_due_occurrences(uow, now=clock.now())
        drafted += done.drafted
        if done.series == 0:
            break
    return {"drafted": drafted}
