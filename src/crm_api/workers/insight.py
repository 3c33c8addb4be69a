"""Job of insight: compute which messages get credit for outcomes, and update stored statistics."""

from typing import Any

import structlog

from crm_api.domain.insight.attribution import runs
from crm_api.domain.insight.measures.copy_records import (
    add_places,
    copy_answers,
    copy_outcomes,
    copy_replies,
)
from crm_api.domain.insight.measures.update_sums import (
    MOST_MERGED,
    merge_hour_sums,
    update_place_sums,
)
from crm_api.workers.deps import Deps, TimeLimit, deps_of

log = structlog.get_logger()
UPDATES = (update_place_sums, copy_answers, copy_replies, copy_outcomes, add_places)
"""The functions that store the sums and records from which statistics are computed, in the order in
which they are called. Each function is called again until it returns False."""
LINE_EVERY = 20_000
"""The number of outcomes after which a run writes its progress to the log."""


async def compute_credits(ctx: dict[str, Any]) -> dict[str, int] | None:
    """Update the stored data of statistics, and compute all credits if the computation is due.

    A credit is the part of an outcome, such as a paid invoice, that one campaign message gets. The
    computation is due if the last one is a day old, or if many outcomes have no credits yet.

    Returns:
        The number of outcomes, for the log; None if credits were not computed.
    """
    deps = deps_of(ctx)
    await _update_stored_data(deps)
    async with deps.new_uow() as uow:
        now = await uow.database_now()
        if not await runs.is_run_due(uow, now=now):
            return None
        run = await runs.run_attribution(uow, version=None, now=now, progress=_log_progress)
    return {"outcomes": run.outcomes}


async def _update_stored_data(deps: Deps) -> None:
    limit, merged = TimeLimit(deps), MOST_MERGED
    while merged == MOST_MERGED and not limit.is_over():
        async with deps.new_uow() as uow:
            merged = await merge_hour_sums(uow)
    for update in UPDATES:
        is_more = True
        while is_more and not limit.is_over():
            async with deps.new_uow() as uow:
                is_more = await update(uow)


def _log_progress(outcomes: int) -> None:
    if outcomes % LINE_EVERY == 0:
        log.info("computation of credits in progress", outcomes=outcomes)
