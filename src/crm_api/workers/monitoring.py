"""Jobs of monitoring: the daily run (clean-ups, archive, digest mail) and the watchdog.

The digest mail reports what happened and what a person must do. The watchdog finds problems and
raises alerts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts.mail import Mailer, MailNotSentError
from crm_api.domain.identity.users import sessions
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.kit import audit_log, idempotency
from crm_api.domain.messaging.consent_decisions.flags import expire_flags
from crm_api.domain.messaging.media import uploads
from crm_api.domain.messaging.media.errors import MediaStoreUnavailableError
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.daily_digest import digest, digest_mail
from crm_api.domain.monitoring.retention import months
from crm_api.domain.monitoring.retention.archive import (
    ACTIVITY,
    TABLES,
    WEBHOOK_EVENT,
    ArchiveFailedError,
    Month,
    MonthlyTable,
    archive_month,
)
from crm_api.domain.monitoring.scheduled_jobs import daily_runs
from crm_api.domain.monitoring.scheduled_jobs.daily_runs import DailyRun
from crm_api.domain.monitoring.system_metrics import figures as metrics
from crm_api.domain.monitoring.watchdog import sales, sends, system
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.domain.outbound.webhook_deliveries import service as webhook_deliveries
from crm_api.domain.people.contacts.state_normalization import normalise_states
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, TimeLimit, deps_of

Now = Callable[[], datetime]

log = structlog.get_logger()


def _by_the_machine(step: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    """Return a function that runs a clean-up with the real time instead of the sandbox's time.

    Use it for sessions and stored responses, which expire by the real time.
    """

    async def run(uow: UnitOfWork, *, now: datetime) -> int:
        return await step(uow, now=now - clock.ahead())

    return run


CLEAN_UPS: dict[str, Callable[..., Awaitable[int]]] = {
    "expired flags": expire_flags,
    "names of states instead of codes": normalise_states,
    "live events older than a week": events.forget_old_events,
    "stored responses of idempotent requests": _by_the_machine(idempotency.clean_up),
    "ended sessions": _by_the_machine(sessions.delete_ended_sessions),
    "undo data of imports": contact_imports.clean_up_imports,
    "deliveries to webhook endpoints": webhook_deliveries.forget_old_deliveries,
}
"""The functions that clean up in the daily run, by their name in the log. One call of a function
deletes or changes one batch of expired rows, and returns the number of these rows. The number 0
means that no expired row is left."""


async def run_daily_tasks(ctx: dict[str, Any]) -> None:
    """Do today's clean-up, and mail today's digest (a daily report); skip what is already done."""
    await run_daily(deps_of(ctx), now=clock.now)


async def run_daily(deps: Deps, *, now: Now) -> None:
    """Do today's clean-up, and mail today's digest (a daily report); skip what is already done.

    If the clean-up stops before its end, ``run_daily_tasks`` is requested again.

    Args:
        deps: The dependencies of the worker.
        now: Returns the current time.
    """
    async with deps.new_uow() as uow:
        today = await daily_runs.make_daily_run(uow, now=now())
    if not today.is_cleaned and not await _clean_up(deps, today, now=now):
        await deps.queue.push(Job(name=JobName.RUN_DAILY_TASKS))
    if today.has_mail and deps.mailer is not None and not deps.is_stopping:
        await _mail_digest(deps, deps.mailer, today, now=now)


async def _clean_up(deps: Deps, today: DailyRun, *, now: Now) -> bool:
    """Delete expired data, one batch per transaction, then archive old monthly partitions.

    The time limit does not apply to the archiving, because the partition of a busy month takes
    longer than all other work.

    Returns:
        False if the time limit was reached or the worker is stopping. The next run then continues.
    """
    limit = TimeLimit(deps)
    kept_for = timedelta(days=deps.settings.audit_log_days)
    steps = CLEAN_UPS | {"audit log entries": partial(audit_log.clean_up, kept_for=kept_for)}
    for what, step in steps.items():
        total = 0
        count = 1
        while count and not limit.is_over():
            async with deps.new_uow() as uow:
                count = await step(uow, now=now())
            total += count
        if total:
            log.info("expired data deleted", what=what, count=total)
    if limit.is_over() or not await _delete_old_uploads(deps, limit, now=now):
        return False
    await maintain_months(deps, now=lambda: now() - clock.ahead())
    if deps.is_stopping:
        return False
    async with deps.new_uow() as uow:
        await daily_runs.store_clean_up_done(uow, day=today.day, now=now())
    return True


async def _delete_old_uploads(deps: Deps, limit: TimeLimit, *, now: Now) -> bool:
    """Delete old uploaded files that no message uses; return False if the time limit was reached.

    While the media store is unavailable, the files remain in the store.
    """
    store = MediaStore.from_settings(deps.settings)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            count, names = await uploads.forget_old_uploads(uow, now=now())
        try:
            for sha256 in names:
                await store.remove(sha256)
        except MediaStoreUnavailableError as error:
            log.warning("cannot delete old uploads from the media store", error=error.detail)
        if not count:
            return True
    return False


async def _mail_digest(deps: Deps, mailer: Mailer, today: DailyRun, *, now: Now) -> None:
    """Send the digest mail (a daily report) between two transactions.

    The first transaction reserves the mail for this worker; the second stores that the mail was
    sent. If the worker dies between them, the reservation expires and another worker sends the
    mail. While the mail server is down, the mail waits.
    """
    async with deps.new_uow() as uow:
        is_down = (await circuits.read_circuit(uow, circuits.MAIL)).is_open
        if is_down or not await daily_runs.claim_digest_mail(uow, day=today.day, now=now()):
            return
    subject, body = await _write_digest(deps, today, now=now())
    try:
        await mailer.send(subject=subject, body=body, now=now())
    except MailNotSentError as error:
        log.warning("daily digest not mailed; will retry", error=error.detail)
        async with deps.new_uow() as uow:
            await daily_runs.postpone_digest_mail(uow, day=today.day, error=error.detail, now=now())
            await circuits.record_failures(
                uow, circuits.MAIL, count=1, error=error.detail, now=now()
            )
        return
    async with deps.new_uow() as uow:
        await daily_runs.store_digest_mailed(uow, day=today.day, now=now())
        await circuits.record_response(uow, circuits.MAIL, now=now())
    log.info("daily digest mailed", day=str(today.day))


async def _write_digest(deps: Deps, today: DailyRun, *, now: datetime) -> tuple[str, str]:
    async with deps.new_uow() as uow:
        figures = await metrics.read(uow, times=SendTimes.from_settings(deps.settings), now=now)
    async with deps.new_uow() as uow:
        content = await digest.read_digest(
            uow, since=today.since, until=today.until, zone=today.zone, figures=figures
        )
        business = await deps.business(uow)
    return digest_mail.write_digest_mail(
        content,
        name=business.name or "crm-api",
        api_url=deps.settings.public_base_url,
    )


async def maintain_months(deps: Deps, *, now: Now) -> None:
    """Create the next monthly partitions of tables; archive and drop partitions that are too old.

    If a step is interrupted or refused, the next daily run tries it again.

    Args:
        now: Returns the real time, even if the sandbox's clock was moved. The id of a row contains
            the real time, which decides the partition of the row.
    """
    kept = {
        WEBHOOK_EVENT: deps.settings.webhook_event_months,
        ACTIVITY: deps.settings.activity_months,
    }
    for table in TABLES:
        try:
            await _create_and_detach_months(deps, table, kept_months=kept[table], now=now)
        except DBAPIError as error:
            # Usually a long query blocks the table. The next daily run tries again. This is early
            # enough, because the partitions of the next months already exist.
            log.warning(
                "failed to create or detach monthly partitions",
                table=table.name,
                error=type(error.orig).__name__,
            )
        async with deps.new_uow() as uow:
            detached = await months.list_detached_months(uow, table)
        for month in detached:
            await _archive_and_drop(deps, month, now=now)


async def _create_and_detach_months(
    deps: Deps, table: MonthlyTable, *, kept_months: int | None, now: Now
) -> None:
    async with deps.new_uow() as uow:
        while await months.add_next_month(uow, table, now=now()):
            log.info("monthly partition created", table=table.name)
    async with deps.new_uow() as uow:
        await months.analyze_table(uow, table)
    if kept_months is None:
        return
    async with deps.new_uow() as uow:
        expired = await months.list_expired_months(uow, table, kept_months=kept_months, now=now())
    for month in expired:
        await _detach(deps, month, now=now)


async def _detach(deps: Deps, month: Month, *, now: Now) -> None:
    """Delete what other tables store about the rows of a monthly partition, then detach it.

    If the function is interrupted, it can be run again. If a row of the partition has unfinished
    work, the partition stays attached, and an alert reports it.
    """
    async with deps.new_uow() as uow:
        if await months.report_unfinished_rows(uow, month, now=now()):
            return
    after = months.NO_ID
    while True:
        async with deps.new_uow() as uow:
            last = await months.delete_provider_ids(uow, month, after=after)
        if last is None:
            break
        after = last
    if not await _delete_media(deps, month):
        return
    async with deps.new_uow() as uow:
        await months.delete_reply_examples(uow, month)
    async with deps.new_uow() as uow:
        is_detached = await months.detach_month(uow, month, now=now())
    if is_detached:
        log.info("monthly partition detached", month=month.name)


async def _delete_media(deps: Deps, month: Month) -> bool:
    """Delete the media of a monthly partition; return False if the media store is unavailable."""
    store = MediaStore.from_settings(deps.settings)
    while True:
        async with deps.new_uow() as uow:
            count, names = await months.delete_media_rows(uow, month)
        try:
            for sha256 in names:
                await store.remove(sha256)
        except MediaStoreUnavailableError as error:
            log.warning("expired media not deleted", month=month.name, error=error.detail)
            return False
        if not count:
            return True


async def _archive_and_drop(deps: Deps, month: Month, *, now: Now) -> None:
    """Archive a detached monthly partition, and drop it if the archive is complete."""
    try:
        archived = await archive_month(deps.new_uow, month, location=deps.settings.archive_location)
    except ArchiveFailedError as error:
        async with deps.new_uow() as uow:
            await months.report_archive_failure(uow, month, error=error.detail, now=now())
        return
    async with deps.new_uow() as uow:
        await months.drop_month(uow, month, archived, now=now())
    log.info("monthly partition archived and dropped", month=month.name, rows=archived.rows)


async def run_watchdog(ctx: dict[str, Any]) -> None:
    """Run all checks of the watchdog, which finds problems; raise and resolve their alerts."""
    await check_everything(deps_of(ctx), now=clock.now)


async def check_everything(deps: Deps, *, now: Callable[[], datetime]) -> None:
    """Run all checks of the watchdog, each in its own transaction; raise and resolve their alerts.

    Args:
        deps: The dependencies of the worker.
        now: Returns the current time.
    """
    measured = await asyncio.to_thread(system.measure_disks, system.folders_of(deps.settings))
    async with deps.new_uow() as uow:
        await system.check_disks(uow, measured, now=now())
    async with deps.new_uow() as uow:
        await system.check_workers(uow, now=now())
    async with deps.new_uow() as uow:
        await system.check_jobs_and_events(uow, now=now())
    async with deps.new_uow() as uow:
        business = await deps.business(uow)
        await sends.check_sending(
            uow, rules=deps.rules, business=business, times=deps.times, now=now()
        )
    async with deps.new_uow() as uow:
        await sales.check_quotes(uow, now=now())
    async with deps.new_uow() as uow:
        await sales.check_calendars(uow, now=now())
