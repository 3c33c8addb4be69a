"""Apply what the provider told."""

import time
from typing import Any

from crm_api import clock
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.reception import Reception
from crm_api.workers.deps import Deps

BATCH = 50
"""Events a transaction: few enough that what they lock is soon free again."""
WORKING_SECONDS = 40.0
"""Less than the job's time-out; the next minute's run goes on."""


async def process_webhook_backlog(ctx: dict[str, Any]) -> None:
    """Apply stored events, batch by batch, until none is due; a second run changes nothing."""
    deps: Deps = ctx["deps"]
    reception = Reception.from_settings(deps.settings)
    until = time.monotonic() + WORKING_SECONDS
    while time.monotonic() < until:
        async with deps.new_uow() as uow:
            applied = await webhooks.apply_batch(
                uow, limit=BATCH, now=clock.now(), reception=reception
            )
        if not applied:
            return
