"""The insight job: update the tables from which figures are read fast, and compute credits.

The tables contain sums by hour, sums by place, and copies of the office's answers, of people's
replies, and of outcomes.
"""

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
"""The functions that update stored sums by place (ZIP, city and source of a person) and copies of
records. The job calls the functions in this order. It repeats each function until it returns
False."""
LINE_EVERY = 20_000
"""The job logs its progress each time it has credited this number of outcomes (such as payments) to
messages."""


async def compute_credits(ctx: dict[str, Any]) -> dict[str, int] | None:
    """Update the tables from which figures are read, and compute all credits if this is due.

    All credits are computed once a day, and earlier if many outcomes have no credits yet.

    Returns:
        The number of outcomes in the computation, for the log; None if credits were not computed.
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
        log.info("attribution run still in progress", credited_outcomes=outcomes)
