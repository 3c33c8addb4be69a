"""Once a day: remove what is over, and mail the morning's letter."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.accounts import sessions
from crm_api.domain.consent import service as consent
from crm_api.domain.events import service as events
from crm_api.domain.idempotency import service as idempotency
from crm_api.domain.operations import audit_log, circuits, daily, digest, digest_letter, metrics
from crm_api.domain.operations.daily import DailyRun
from crm_api.domain.operations.errors import MailNotSentError
from crm_api.domain.operations.mail import Mailer
from crm_api.domain.sends.times import SendTimes
from crm_api.domain.transfer import service as transfer
from crm_api.domain.webhook_deliveries import service as webhook_deliveries
from crm_api.workers.deps import Deps, deps_of
from crm_api.workers.retention import keep_months

log = structlog.get_logger()

Now = Callable[[], datetime]


def _by_the_machine(step: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    """Let a clean-up go by the machine's clock, as whoever may come in does."""

    async def run(uow: UnitOfWork, *, now: datetime) -> int:
        return await step(uow, now=now - clock.ahead())

    return run


CLEAN_UPS: dict[str, Callable[..., Awaitable[int]]] = {
    "flags that have ended": consent.expire_flags,
    "events older than a week": events.forget,
    "answers of repeatable requests": _by_the_machine(idempotency.clean_up),
    "sessions that are over": _by_the_machine(sessions.clean_up),
    "what imports kept for an undo": transfer.clean_up,
    "webhooks that were sent": webhook_deliveries.clean_up,
}
"""Each does some at a time, by a retention of its own, and 0 when nothing is left."""


async def run_daily_tasks(ctx: dict[str, Any]) -> None:
    """Do what the day's run still has to do; a second run finds it done."""
    await run(deps_of(ctx), now=clock.now)


async def run(deps: Deps, *, now: Now) -> None:
    """Do what ``run_daily_tasks`` says, by this clock."""
    async with deps.new_uow() as uow:
        today = await daily.make(uow, now=now())
    if not today.is_cleaned:
        await _clean_up(deps, today, now=now)
    if today.may_tell and deps.mailer is not None and not deps.is_stopping:
        await _tell(deps, deps.mailer, today, now=now)


async def _clean_up(deps: Deps, today: DailyRun, *, now: Now) -> None:
    """Remove what is over, a batch a transaction; cut short it goes on with the next run."""
    kept_for = timedelta(days=deps.settings.audit_log_days)
    steps = CLEAN_UPS | {"the audit log": partial(audit_log.clean_up, kept_for=kept_for)}
    for what, step in steps.items():
        total = 0
        while not deps.is_stopping:
            async with deps.new_uow() as uow:
                count = await step(uow, now=now())
            total += count
            if not count:
                break
        if total:
            log.info("cleaned up", what=what, count=total)
    if not deps.is_stopping:
        await keep_months(deps, now=lambda: now() - clock.ahead())
    if not deps.is_stopping:
        async with deps.new_uow() as uow:
            await daily.note_cleaned(uow, day=today.day, now=now())


async def _tell(deps: Deps, mailer: Mailer, today: DailyRun, *, now: Now) -> None:
    """Mail the letter between two transactions; a worker that dies there leaves a claim that ends.

    While the mail server is down it waits: ``send_alerts`` finds out when it goes again.
    """
    async with deps.new_uow() as uow:
        is_down = (await circuits.read(uow, circuits.MAIL)).is_open
        if is_down or not await daily.claim_letter(uow, day=today.day, now=now()):
            return
    subject, body = await _write(deps, today, now=now())
    try:
        await mailer.send(subject=subject, body=body, now=now())
    except MailNotSentError as error:
        log.warning("letter of the day not mailed", error=error.detail)
        async with deps.new_uow() as uow:
            await daily.put_off(uow, day=today.day, error=error.detail, now=now())
            await circuits.note_failures(uow, circuits.MAIL, count=1, error=error.detail, now=now())
        return
    async with deps.new_uow() as uow:
        await daily.note_mailed(uow, day=today.day, now=now())
        await circuits.note_answer(uow, circuits.MAIL, now=now())
    log.info("letter of the day mailed", day=str(today.day))


async def _write(deps: Deps, today: DailyRun, *, now: datetime) -> tuple[str, str]:
    async with deps.new_uow() as uow:
        figures = await metrics.read(uow, times=SendTimes.from_settings(deps.settings), now=now)
    async with deps.new_uow() as uow:
        told = await digest.read(
            uow, since=today.since, until=today.until, zone=today.zone, figures=figures
        )
    return digest_letter.write(
        told,
        name=deps.settings.business_name or "crm-api",
        api_url=deps.settings.public_base_url,
    )
