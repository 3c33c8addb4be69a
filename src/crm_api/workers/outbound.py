"""The job that sends events to webhook endpoints."""

from datetime import timedelta
from typing import Any

from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_deliveries.dispatch import DispatchTerms, WebhookDispatcher
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.domain.outbound.webhook_endpoints.activation import has_active_endpoint
from crm_api.platform import clock
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, deps_of

WORKING_SECONDS = 45.0
"""Maximum working time of a run. It leaves time for the longest call before the job's time limit;
then another run continues."""
NEXT_RUN_SECONDS = 0.05


async def deliver_webhooks(
    ctx: dict[str, Any], *, for_seconds: float = WORKING_SECONDS, stays: bool = True
) -> None:
    """Create deliveries from the event log, and send those that are due; safe to run twice.

    Database triggers write the event log, and they cannot send a nudge. Therefore, while there is
    an active endpoint, a run checks for new events twice a second, and requests the next run before
    it ends.
    """
    deps = deps_of(ctx)
    async with deps.new_uow() as uow:
        if not await has_active_endpoint(uow):
            return
        await fan_out.adopt_cursor(uow)
    async with WebhookSender.from_settings(deps.settings) as sender:
        dispatcher = WebhookDispatcher(
            new_uow=deps.new_uow, sender=sender, terms=_terms(deps), now=clock.now
        )
        deps.on_stop.add(dispatcher.stop)
        try:
            await dispatcher.run(for_seconds=for_seconds, stays=stays)
        finally:
            deps.on_stop.discard(dispatcher.stop)
    if not deps.is_stopping:
        await deps.queue.push(Job(name=JobName.DELIVER_WEBHOOKS, delay_seconds=NEXT_RUN_SECONDS))


def _terms(deps: Deps) -> DispatchTerms:
    settings = deps.settings
    return DispatchTerms(
        key=deps.secret,
        disable_after=timedelta(days=settings.webhook_endpoint_disable_days),
        timeout=timedelta(seconds=settings.webhook_endpoint_timeout_seconds),
    )
