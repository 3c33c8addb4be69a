"""The consent history in the background: its entries are linked into the chain."""

from typing import Any

from crm_api.domain.consent import linking
from crm_api.workers.deps import deps_of


async def seal_consent(ctx: dict[str, Any]) -> None:
    """Link entries until none waits; a second run, or one beside it, changes nothing."""
    deps = deps_of(ctx)
    has_more = True
    while has_more and not deps.is_stopping:
        async with deps.new_uow() as uow:
            has_more = await linking.link_batch(uow, secret=deps.secret)
