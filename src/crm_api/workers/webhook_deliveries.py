"""Tell webhook endpoints what happens."""

from datetime import timedelta
from typing import Any

from crm_api import clock
from crm_api.domain.webhook_deliveries import fan_out
from crm_api.domain.webhook_deliveries.dispatch import Dispatcher, Terms
from crm_api.domain.webhook_deliveries.sender import Sender
from crm_api.domain.webhook_endpoints import service as endpoints
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import Deps, deps_of

WORKING_SECONDS = 45.0
"""With the longest call well within the job's time-out; then another run goes on."""
GO_ON_SECONDS = 0.05


async def deliver_webhooks(
    ctx: dict[str, Any], *, for_seconds: float = WORKING_SECONDS, stays: bool = True
) -> None:
    """Hand the log of events out and send what is due; a second run finds it done.

    Nobody nudges when something happens, for triggers write it down. So while there is an
    endpoint to be told, a run stays, looks twice a second, and asks for the next one.
    """
    deps = deps_of(ctx)
    async with deps.new_uow() as uow:
        if not await endpoints.has_active(uow):
            return
        await fan_out.adopt(uow)
    async with Sender.from_settings(deps.settings) as sender:
        dispatcher = Dispatcher(
            new_uow=deps.new_uow, sender=sender, terms=_terms(deps), now=clock.now
        )
        deps.on_stop.add(dispatcher.stop)
        try:
            await dispatcher.run(for_seconds=for_seconds, stays=stays)
        finally:
            deps.on_stop.discard(dispatcher.stop)
    if not deps.is_stopping:
        await deps.queue.push(Job(name=JobName.DELIVER_WEBHOOKS, delay_seconds=GO_ON_SECONDS))


def _terms(deps: Deps) -> Terms:
    settings = deps.settings
    return Terms(
        key=deps.secret,
        disable_after=timedelta(days=settings.webhook_endpoint_disable_days),
        timeout=timedelta(seconds=settings.webhook_endpoint_timeout_seconds),
    )
