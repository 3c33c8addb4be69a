"""Jobs that apply the provider's events, check webhook health, and reconcile with the provider."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog

from crm_api.domain.inbound.reconciliation import runs, walking
from crm_api.domain.inbound.reconciliation.walking import ReconciliationParts
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_health import service
from crm_api.domain.inbound.webhook_health.message_check import (
    OwnLines,
    begin_message_check,
    conclude_message_check,
)
from crm_api.domain.inbound.webhook_health.models import WebhookHealthSide
from crm_api.domain.inbound.webhook_health.provider_check import ProviderCheck
from crm_api.domain.inbound.webhook_health.service import (
    CheckResult,
    WebhookHealthCheckNotFoundError,
)
from crm_api.domain.inbound.webhook_health.silence_check import conclude_silence_check
from crm_api.domain.inbound.webhook_setup import keys
from crm_api.domain.inbound.webhook_setup.registering import Registrar
from crm_api.domain.kit.errors import CrmError
from crm_api.platform import clock, failpoints
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, TimeLimit, deps_of
from crm_api.workers.guards import provider_read, wait_for_rate_limit

Now = Callable[[], datetime]

log = structlog.get_logger()

BATCH = 100
"""The largest number of received events that one transaction applies. This takes about 50 ms, so
the locks of the transaction are released soon."""
LARGE_BATCH = 300
"""The largest number of events in the next transaction, if the last transaction applied its largest
number of events. Then more events usually wait. A large batch needs about as many SQL statements as
a small batch, so it saves a third of the CPU time per event. With fewer statements, the job also
waits less often for the event loop while the same process sends campaign messages."""
WORKING_SECONDS = 40.0
"""How many seconds one run of ``process_webhook_backlog`` works, well below the time limit of the
job. After this time, another run continues the work."""
NEXT_BATCH_SECONDS = 0.5


async def process_webhook_backlog(ctx: dict[str, Any]) -> dict[str, object] | None:
    """Apply the stored events of the provider, batch by batch, until no event is due.

    If the job reaches its time limit, it requests its next run. Two runs at the same time are
    harmless.

    Returns:
        The number of applied events, for the log; None if no event was applied.
    """
    deps = deps_of(ctx)
    apply_settings = ApplySettings.from_settings(deps.settings)
    limit = TimeLimit(deps, seconds=WORKING_SECONDS)
    total, size = 0, BATCH
    while not limit.is_over():
        async with deps.new_uow() as uow:
            applied = await webhooks.apply_batch(
                uow, limit=size, now=await uow.database_now(), apply_settings=apply_settings
            )
            await failpoints.reach("webhook.open")
        await failpoints.reach("webhook.committed")
        if not applied:
            break
        total += applied
        size = LARGE_BATCH if applied == size else BATCH
    else:
        await deps.queue.push(
            Job(name=JobName.PROCESS_WEBHOOK_BACKLOG, delay_seconds=NEXT_BATCH_SECONDS)
        )
    return {"applied": total} if total else None


POLL_SECONDS = 5.0
"""Seconds between two runs of ``check_webhook_health`` while the job waits for the webhook of a
test message."""
PATIENCE = timedelta(minutes=15)
"""How long a webhook health check is repeated while the provider is unavailable. After this time,
the check is recorded as failed. Until then, the alert about the provider is enough."""


async def check_webhook_health(ctx: dict[str, Any]) -> None:
    """Begin due webhook health checks, and store the results of finished checks.

    The job runs each minute, and a check is due each hour. While a test message is on its way, the
    job also requests its own next run. Two runs at the same time are harmless.
    """
    await run_health_checks(deps_of(ctx), now=clock.now)


async def run_health_checks(deps: Deps, *, now: Now) -> None:
    """Begin the webhook health checks that are due, and store the results of finished checks.

    The job ``check_webhook_health`` calls this function. ``now`` returns the current time.
    """
    own = OwnLines.from_settings(deps.settings)
    async with deps.new_uow() as uow:
        await service.lock_schedule(uow)
        for side in await service.due_sides(uow, message_is_on=own is not None, now=now()):
            # Another worker may have concluded the check a moment ago.
            with suppress(WebhookHealthCheckNotFoundError):
                if side is WebhookHealthSide.TEST_TEXT:
                    await begin_message_check(uow, own, asked_by=service.SCHEDULE, now=now())
                else:
                    await service.order_check(uow, side=side, asked_by=service.SCHEDULE, now=now())
    async with deps.new_uow() as uow:
        until = await conclude_message_check(uow, now=now())
    async with deps.new_uow() as uow:
        await conclude_silence_check(uow, now=now())
        await keys.forget_retired_keys(uow, now=now())
        await service.forget_old_checks(uow, now=now())
    await _conclude_provider_check(deps, now=now)
    if until is not None:
        left = (until - now()).total_seconds()
        delay = max(0.5, min(POLL_SECONDS, left + 0.1))
        await deps.queue.push(Job(name=JobName.CHECK_WEBHOOK_HEALTH, delay_seconds=delay))


async def _conclude_provider_check(deps: Deps, *, now: Now) -> None:
    async with deps.new_uow() as uow:
        waiting = await service.find_waiting_check(uow, WebhookHealthSide.PROVIDER)
    if waiting is None or deps.is_stopping:
        return
    check = ProviderCheck(
        registrar=registrar_of(deps, now=now),
        wait=lambda: wait_for_rate_limit(deps, now=now),
        now=now(),
    )
    try:
        result = await check.examine()
    except CrmError as error:
        # The provider is unavailable, or its response cannot be parsed. A later run tries again.
        if now() - waiting.created_at < PATIENCE:
            log.info("webhooks at the provider could not be checked; will retry", error=error.code)
            return
        sentence = f"The webhooks at the provider could not be checked: {error.detail}"
        result = CheckResult(leg="provider_away", failure=sentence)
    async with deps.new_uow() as uow:
        # Another worker may have concluded the check in the meantime.
        locked = await service.find_waiting_check(uow, WebhookHealthSide.PROVIDER, locks=True)
        if locked is not None and locked.id == waiting.id:
            await service.conclude_check(uow, locked, result, now=now())


def registrar_of(deps: Deps, *, now: Now) -> Registrar:
    """Create a worker's ``Registrar``: the object that sets up the webhooks at the provider."""
    settings = deps.settings
    return Registrar(
        new_uow=deps.new_uow,
        hooks=deps.provider.hooks,
        url=settings.provider_webhooks,
        secret=deps.secret,
        given=settings.webhook_secrets(),
        is_real=not (settings.uses_sandbox or settings.provider_on_loopback),
        now=now,
    )


WAIT_MARGIN_SECONDS = 0.5
BACKLOG_SECONDS = 15.0
"""How many seconds the reconciliation (the comparison with the provider) waits while received
events have not been applied yet. After this time, its job checks again."""


async def reconcile_openphone(ctx: dict[str, Any]) -> None:
    """Create the reconciliations that are due, and work on unfinished reconciliations.

    A reconciliation compares the provider's messages and calls with the stored ones. Two runs of
    this job at the same time are harmless.
    """
    deps = deps_of(ctx)
    is_over = TimeLimit(deps).is_over
    async with deps.new_uow() as uow:
        await runs.make_daily_run(uow, now=clock.now())
        await runs.make_run_after_gap(uow, now=clock.now())
        must_wait = await runs.must_wait_for_events(uow, now=clock.now())
    if must_wait:
        await deps.queue.push(Job(name=JobName.RECONCILE_OPENPHONE, delay_seconds=BACKLOG_SECONDS))
        return
    parts = ReconciliationParts(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        apply_settings=ApplySettings.from_settings(deps.settings),
        now=clock.now,
        around=lambda: provider_read(deps),
    )
    while not is_over():
        worked = await walking.work_on_next_run(parts, is_over=is_over)
        if worked is None:
            return
        if worked.wait is not None:
            delay = worked.wait.total_seconds() + WAIT_MARGIN_SECONDS
            await deps.queue.push(Job(name=JobName.RECONCILE_OPENPHONE, delay_seconds=delay))
            return
