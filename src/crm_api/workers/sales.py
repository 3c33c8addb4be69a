"""The jobs of appointments: reminders."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from crm_api.domain.sales.reminders import sending
from crm_api.platform import clock
from crm_api.workers.deps import TimeLimit, deps_of


async def send_reminders(ctx: dict[str, Any]) -> Mapping[str, int]:
    """Decide about all reminders that are due; safe to run twice.

    Returns:
        The number of reminders by what was decided.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    decided: Counter[str] = Counter()
    async with deps.new_uow() as uow:
        await sending.withdraw_late_reminders(uow, now=clock.now())
    while not limit.is_over():
        async with deps.new_uow() as uow:
            due = await sending.find_due_reminders(uow, now=clock.now())
        count = decided.total()
        for one in due:
            if limit.is_over():
                break
            async with deps.new_uow() as uow:
                status = await sending.decide_reminder(
                    uow,
                    one,
                    rules=deps.rules,
                    business=await deps.business(uow),
                    now=clock.now(),
                )
            if status is not None:
                decided[status.value] += 1
        if decided.total() == count:
            break
    return dict(decided)
