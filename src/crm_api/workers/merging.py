"""Pairs of contacts that may be one person, looked for when contacts have changed."""

from typing import Any

from crm_api import clock
from crm_api.domain.merging import candidates
from crm_api.workers.deps import deps_of


async def find_duplicates(ctx: dict[str, Any]) -> None:
    """Look for pairs among all contacts, with a rest after each pass; again changes nothing."""
    deps = deps_of(ctx)
    async with deps.new_uow() as uow:
        await candidates.find(uow, now=clock.now(), clock=clock.now)
