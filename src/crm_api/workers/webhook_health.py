"""Look from three sides whether the provider's events reach us."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from crm_api import clock
from crm_api.domain.errors import CrmError
from crm_api.domain.webhook_health import own_text, provider_side, quiet, service
from crm_api.domain.webhook_health.models import Side
from crm_api.domain.webhook_health.own_text import OwnLines
from crm_api.domain.webhook_health.service import Conclusion
from crm_api.domain.webhook_setup import keys
from crm_api.domain.webhook_setup.registering import Registrar
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import Deps, deps_of

log = structlog.get_logger()

POLL_SECONDS = 5.0
"""While a test text is under way."""
PATIENCE = timedelta(minutes=15)
"""A provider that is away has an alert of its own; after this the look says that it failed."""

Now = Callable[[], datetime]


async def check_webhook_health(ctx: dict[str, Any]) -> None:
    """Order the looks that are due, and conclude those that can be; a second run changes nothing.

    It runs each minute and looks hourly; while a test text is under way it comes back by itself.
    """
    await check(deps_of(ctx), now=clock.now)


async def check(deps: Deps, *, now: Now) -> None:
    """Do one run by the given clock."""
    own = OwnLines.from_settings(deps.settings)
    async with deps.new_uow() as uow:
        for side in await service.due_sides(uow, text_is_on=own is not None, now=now()):
            if side is Side.TEST_TEXT:
                await own_text.begin(uow, own, asked_by=service.SCHEDULE, now=now())
            else:
                await service.order(uow, side=side, asked_by=service.SCHEDULE, now=now())
    async with deps.new_uow() as uow:
        until = await own_text.look(uow, now=now())
    async with deps.new_uow() as uow:
        await quiet.look(uow, now=now())
        await keys.forget_retired(uow, now=now())
        await service.forget_old(uow, now=now())
    await _ask_provider(deps, now=now)
    if until is not None:
        left = (until - now()).total_seconds()
        delay = max(0.5, min(POLL_SECONDS, left + 0.1))
        await deps.queue.push(Job(name=JobName.CHECK_WEBHOOK_HEALTH, delay_seconds=delay))


async def _ask_provider(deps: Deps, *, now: Now) -> None:
    async with deps.new_uow() as uow:
        waiting = await service.find_waiting(uow, Side.PROVIDER)
    if waiting is None or deps.is_stopping:
        return
    try:
        found = await provider_side.examine(
            registrar_of(deps, now=now), turn=lambda: _wait_for_turn(deps, now=now), now=now()
        )
    except CrmError as error:
        # Away, or an answer that nobody can read; it may be another one in a minute.
        if now() - waiting.created_at < PATIENCE:
            log.info("provider not asked about webhooks", error=error.code)
            return
        sentence = f"The provider could not be asked about its webhooks: {error.detail}"
        found = Conclusion(leg="provider_away", failure=sentence)
    async with deps.new_uow() as uow:
        # Another worker may have concluded it while this one asked.
        if await service.lock_waiting(uow, Side.PROVIDER) == waiting.id:
            await service.conclude(
                uow, check_id=waiting.id, side=Side.PROVIDER, found=found, now=now()
            )


def registrar_of(deps: Deps, *, now: Now) -> Registrar:
    """Make a registrar of a worker's parts."""
    settings = deps.settings
    return Registrar(
        new_uow=deps.new_uow,
        hooks=deps.provider.hooks,
        url=settings.webhook_address,
        secret=deps.secret,
        given=settings.webhook_secrets(),
        is_real=not (settings.uses_sandbox or settings.provider_on_loopback),
        now=now,
    )


async def _wait_for_turn(deps: Deps, *, now: Now) -> None:
    async with deps.new_uow() as uow:
        starts_at = await deps.limiter.reserve(uow, calls=1, now=now())
    await asyncio.sleep(max(0.0, (starts_at - now()).total_seconds()))
