"""Job of the office: end the snoozes of conversations, and clean up data of the inbox."""

from typing import Any

from crm_api.domain.office.inbox import changes, presence, tallies
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import TimeLimit, deps_of

AT_ONCE = 500
"""The largest number of snoozed conversations that one transaction shows again."""


async def wake_conversations(ctx: dict[str, Any]) -> dict[str, object] | None:
    """Wake the conversations whose snooze has ended, and clean up data of the inbox.

    The clean-up deletes old presence events and merges the rows of ``conversation_tally``. When the
    time limit is near, the job requests its next run.

    Returns:
        The number of conversations that were woken, for the log; None if no conversation was woken.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    woken = 0
    async with deps.new_uow() as uow:
        await presence.forget_presence(uow, now=await uow.database_now())
    async with deps.new_uow() as uow:
        await tallies.compact_conversation_tally(uow)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            now = await uow.database_now()
            found = await changes.wake_conversations(uow, limit=AT_ONCE, now=now)
        woken += found
        if found < AT_ONCE:
            return {"conversations": woken} if woken else None
    await deps.queue.push(Job(name=JobName.WAKE_CONVERSATIONS))
    return {"conversations": woken}
