"""Job of insight: compute which messages get credit for outcomes, and update stored statistics."""

from typing import Any

import structlog

from crm_api.domain.insight.attribution import runs
from crm_api.domain.insight.measures.merge_tally import MOST, merge_tally
from crm_api.domain.insight.measures.place_records import place_records
from crm_api.domain.insight.measures.settle_answers import settle_answers
from crm_api.domain.insight.measures.settle_outcomes import settle_outcomes
from crm_api.domain.insight.measures.settle_people import settle_people
from crm_api.domain.insight.measures.settle_replies import settle_replies
from crm_api.workers.deps import Deps, TimeLimit, deps_of

log = structlog.get_logger()
SETTLING = (settle_people, settle_answers, settle_replies, settle_outcomes, place_records)
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
    await _merge_sums(deps)
    async with deps.new_uow() as uow:
        now = await uow.database_now()
        if not await runs.is_run_due(uow, now=now):
            return None
        run = await runs.run_attribution(uow, version=None, now=now, progress=_log_progress)
    return {"outcomes": run.outcomes}


async def _merge_sums(deps: Deps) -> None:
    limit, merged = TimeLimit(deps), MOST
    while merged == MOST and not limit.is_over():
        async with deps.new_uow() as uow:
            merged = await merge_tally(uow)
    for settle in SETTLING:
        is_more = True
        while is_more and not limit.is_over():
            async with deps.new_uow() as uow:
                is_more = await settle(uow)


def _log_progress(outcomes: int) -> None:
    if outcomes % LINE_EVERY == 0:
        log.info("computation of credits in progress", outcomes=outcomes)
