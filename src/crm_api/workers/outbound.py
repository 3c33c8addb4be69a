"""The jobs that send events to webhook endpoints, and notices to users."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from crm_api.domain.identity.preferences.notices import NoticeChannel
from crm_api.domain.outbound.notices.collecting import collect_notices, delete_old_notices
from crm_api.domain.outbound.notices.mailing import mail_notices
from crm_api.domain.outbound.notices.pushing import (
    PUSH_LASTS,
    ClaimedPush,
    PushResult,
    claim_push,
    record_push,
)
from crm_api.domain.outbound.notices.watchers import Watcher, read_watchers
from crm_api.domain.outbound.web_push.push_message import PushTarget, build_push_request
from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_deliveries.dispatch import DispatchTerms, WebhookDispatcher
from crm_api.domain.outbound.webhook_deliveries.sender import WebhookSender
from crm_api.domain.outbound.webhook_endpoints.activation import has_active_endpoint
from crm_api.platform import clock
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, TimeLimit, deps_of

log = structlog.get_logger()

WORKING_SECONDS = 45.0
"""How many seconds one run of ``deliver_webhooks`` works. After this time, another run continues
the work. The remaining time until the time limit of the job is enough to complete the longest
request."""
NEXT_RUN_SECONDS = 0.05


async def deliver_webhooks(
    ctx: dict[str, Any], *, for_seconds: float = WORKING_SECONDS, stays: bool = True
) -> None:
    """Create deliveries from the event log, and send the deliveries that are due.

    Database triggers write events, but cannot request a run. So a run looks for new events twice a
    second, and requests the next run when it ends. Without an active endpoint, the run ends
    immediately and requests nothing. Two runs at the same time are harmless.

    Args:
        for_seconds: The maximum working time.
        stays: If False, the run ends when nothing is due.
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
        with deps.stopped_by(dispatcher.stop):
            await dispatcher.run(for_seconds=for_seconds, stays=stays)
    if not deps.is_stopping:
        await deps.queue.push(Job(name=JobName.DELIVER_WEBHOOKS, delay_seconds=NEXT_RUN_SECONDS))


def _terms(deps: Deps) -> DispatchTerms:
    settings = deps.settings
    return DispatchTerms(
        key=deps.secret,
        disable_after=timedelta(days=settings.webhook_endpoint_disable_days),
        timeout=timedelta(seconds=settings.webhook_endpoint_timeout_seconds),
    )


async def send_notices(ctx: dict[str, Any]) -> dict[str, int]:
    """Send notices to users, by mail and web push, about work that they must do.

    The preferences of a user say which notices the user gets, how and when.
    """
    return await send_due_notices(deps_of(ctx), now=clock.now)


async def send_due_notices(deps: Deps, *, now: Callable[[], datetime]) -> dict[str, int]:
    """Send notices to users, by mail and web push, about work that they must do.

    Args:
        deps: The dependencies of the worker.
        now: Returns the current time.

    Returns:
        ``mailed`` is the number of notices that were mailed. ``pushed`` is the number of pushes
        that at least one device of the user got.
    """
    async with deps.new_uow() as uow:
        await delete_old_notices(uow, now=now())
        watchers = await read_watchers(uow, has_mail=deps.mailer is not None)
        if watchers:
            await collect_notices(uow, watchers, now=now())
    awake = [watcher for watcher in watchers if not watcher.is_quiet(now())]
    limit = TimeLimit(deps)
    mailed = await _mail(deps, awake, limit=limit, now=now)
    pushed = await _push(deps, awake, limit=limit, now=now)
    return {"mailed": mailed, "pushed": pushed}


async def _mail(
    deps: Deps, watchers: Sequence[Watcher], *, limit: TimeLimit, now: Callable[[], datetime]
) -> int:
    settings = deps.settings
    count = 0
    for watcher in watchers:
        if NoticeChannel.MAIL not in watcher.wanted or limit.is_over():
            continue
        async with deps.new_uow() as uow:
            business = await deps.business(uow)
            count += await mail_notices(
                uow,
                watcher,
                name=business.name or "crm-api",
                app_url=(settings.app_url or settings.public_base_url).rstrip("/"),
                secret=deps.secret,
                now=now(),
            )
    return count


async def _push(
    deps: Deps, watchers: Sequence[Watcher], *, limit: TimeLimit, now: Callable[[], datetime]
) -> int:
    count = 0
    wanting = [watcher for watcher in watchers if NoticeChannel.PUSH in watcher.wanted]
    if not wanting:
        return 0
    async with WebhookSender.from_settings(deps.settings) as sender:
        for watcher in wanting:
            if limit.is_over():
                break
            async with deps.new_uow() as uow:
                push = await claim_push(uow, watcher, now=now())
            if push is None:
                continue
            results = await asyncio.gather(
                *(
                    _push_to(deps, sender, push, subscription_id, target)
                    for subscription_id, target in push.targets.items()
                )
            )
            async with deps.new_uow() as uow:
                await record_push(uow, push, results, now=now())
            count += any(one.is_accepted for one in results)
    return count


async def _push_to(
    deps: Deps,
    sender: WebhookSender,
    push: ClaimedPush,
    subscription_id: UUID,
    target: PushTarget,
) -> PushResult:
    # Push services check the time in the signature. So it must be the real time, not the sandbox's.
    wall_now = clock.wall_now()
    try:
        request = build_push_request(
            target,
            push.payload,
            topic=push.topic,
            lasts=PUSH_LASTS,
            contact=deps.settings.alert_sender,
            secret=deps.secret,
            now=wall_now,
        )
    except ValueError as error:
        log.warning("web push subscription deleted because it cannot be used", error=str(error))
        return PushResult(subscription_id=subscription_id, is_refused=True)
    answer = await sender.post(
        target.endpoint, body=request.body, headers=request.headers, now=wall_now
    )
    if not answer.has_arrived:
        log.info(
            "web push not accepted by the push service",
            status=answer.status,
            error=answer.error_code,
        )
    return PushResult(subscription_id=subscription_id, status=answer.status)
