"""Looks for what is wrong, each minute; a web process looks whether anybody does."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from crm_api import clock
from crm_api.domain.lookout import disks, sends, system
from crm_api.workers.deps import Deps, deps_of


async def look_out(ctx: dict[str, Any]) -> None:
    """Raise and end the alerts of what can be seen to be wrong; a second run changes nothing."""
    await look(deps_of(ctx), now=clock.now)


async def look(deps: Deps, *, now: Callable[[], datetime]) -> None:
    """Do what ``look_out`` says, by this clock."""
    measured = await asyncio.to_thread(disks.measure, disks.places(deps.settings))
    async with deps.new_uow() as uow:
        await system.look_at_disks(uow, measured, now=now())
    async with deps.new_uow() as uow:
        await system.look_at_workers(uow, now=now())
    async with deps.new_uow() as uow:
        await system.look_at_work(uow, now=now())
    async with deps.new_uow() as uow:
        await sends.look(uow, rules=deps.rules, business=deps.business, times=deps.times, now=now())
