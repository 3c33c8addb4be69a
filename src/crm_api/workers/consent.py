"""Jobs of consent: add new consent entries to the hash chain, and evaluate failed messages."""

from typing import Any

from crm_api.domain.consent import linking
from crm_api.domain.messaging.provider_stops import failure_learning
from crm_api.domain.messaging.sends.number_failures import LEARN_FROM_FAILURES
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import TimeLimit, deps_of


async def seal_consent(ctx: dict[str, Any]) -> None:
    """Add new consent entries to the hash chain.

    The job ends when no new entry is left. When the time limit is near, it requests its next run.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            if not await linking.link_entries(uow, secret=deps.secret):
                return
    await deps.queue.push(Job(name=JobName.SEAL_CONSENT))


async def learn_from_failures(ctx: dict[str, Any]) -> dict[str, object] | None:
    """Evaluate new failures of messages, one phone number after the other.

    A failure may show that a number has opted out at the provider, is a landline, or is invalid. At
    the time limit, the job requests its next run.

    Returns:
        The number of evaluated phone numbers, for the log; None if no number was evaluated.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    learned = 0
    while not limit.is_over():
        async with deps.new_uow() as uow:
            now = await uow.database_now()
            if not await failure_learning.learn_from_next_number(uow, now=now, secret=deps.secret):
                return {"numbers": learned} if learned else None
        learned += 1
    await deps.queue.push(LEARN_FROM_FAILURES)
    return {"numbers": learned}
