"""Alerts, heartbeats, and what the schedule did last."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from crm_api.db import UnitOfWork
from crm_api.domain.operations import audit_log, queries
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.operations.errors import AlertNotFoundError
from crm_api.domain.operations.models import Alert, AlertStatus
from crm_api.domain.operations.schemas import ScheduledJobRead
from crm_api.domain.paging import Cursors, Page
from crm_api.jobs import Job, JobName

log = structlog.get_logger()

SCHEDULE = {
    "apply_custom_fields": "every 60 s",
    "change_tags": "every 60 s, and when asked",
    "check_webhook_health": "hourly from each side, looked after every 60 s",
    "deliver_webhooks": "always while there is an endpoint, looked after every 60 s",
    "fetch_media": "every 60 s",
    "find_duplicates": "every 60 s, after a rest, when contacts have changed",
    "process_campaign_queue": "every 60 s",
    "process_webhook_backlog": "every 60 s",
    "reconcile_openphone": "daily at 02:00 UTC, after an outage, and when asked",
    "resolve_unknown_sends": "every 60 s",
    "run_daily_tasks": "daily at 07:00 where the first line is, looked after every 60 s",
    "run_do_not_contact": "every 60 s",
    "run_erasures": "every 60 s",
    "run_imports": "every 60 s",
    "seal_consent": "every 60 s, and after each decision",
    "send_alerts": "every 60 s",
    "send_messages": "every 60 s",
    "try_provider": "every 60 s",
    "validate_phones": "every 60 s",
    "write_audiences": "every 60 s",
}
"""Every scheduled job and how often it runs; the worker registers exactly these."""

HEARTBEAT_SECONDS = 10
LATE_AFTER = timedelta(seconds=90)
"""A worker or a job that is this late is called degraded."""
ACKNOWLEDGED_FOR = timedelta(days=1)
"""What still happens after that comes up again: whoever acknowledged it may have forgotten."""
TELL = Job(name=JobName.SEND_ALERTS, delay_seconds=5)
"""What comes up together is told together."""
ENDS_BY_SILENCE = {
    timedelta(minutes=15): (AlertKind.CLOCK_SKEW, AlertKind.PROVIDER_LIST_LAGS),
    timedelta(hours=1): (AlertKind.WEBHOOK_REFUSED,),
}
"""Kinds whose cause raises them again for as long as it lasts, and after which silence it is over;
nothing else would tell that it is."""


async def raise_alert(
    uow: UnitOfWork,
    *,
    kind: AlertKind,
    subject: str,
    detail: str,
    now: datetime,
    context: dict[str, Any] | None = None,
    times: int = 1,
) -> None:
    """Add an alert; the same kind and subject again is counted, not repeated.

    One that comes up is logged, and whoever tells of alerts is nudged.

    Args:
        detail: What happened and what to do, for a person.
        times: How often it happened since it was raised last.
    """
    comes_up = await queries.raise_alert(
        uow.session,
        kind=kind,
        subject=subject,
        detail=detail,
        context=context or {},
        times=times,
        acknowledged_for=ACKNOWLEDGED_FOR,
        now=now,
    )
    if comes_up:
        log.warning("alert", kind=kind, subject=subject)
        uow.after_commit(TELL)


async def resolve_alert(uow: UnitOfWork, *, kind: AlertKind, subject: str, now: datetime) -> None:
    """Mark an alert as over; nothing happens when there is none."""
    if await queries.resolve_alert(uow.session, kind=kind, subject=subject, now=now):
        log.info("alert over", kind=kind, subject=subject)
        uow.after_commit(TELL)


async def resolve_silent(uow: UnitOfWork, *, now: datetime) -> None:
    """Mark alerts as over whose cause raises them again and again, and has stopped to."""
    for silence, kinds in ENDS_BY_SILENCE.items():
        if await queries.resolve_silent(uow.session, kinds=kinds, before=now - silence, now=now):
            uow.after_commit(TELL)


async def open_subjects(uow: UnitOfWork, *, kind: AlertKind) -> Sequence[str]:
    """List what the alerts of a kind that stand are about."""
    return await queries.open_subjects(uow.session, kind=kind)


async def get_alert(uow: UnitOfWork, alert_id: UUID) -> Alert:
    """Read one alert.

    Raises:
        AlertNotFoundError: There is none with this id.
    """
    alert = await queries.get_alert(uow.session, alert_id)
    if alert is None:
        raise AlertNotFoundError("There is no alert with this id.")
    return alert


async def acknowledge(uow: UnitOfWork, *, alert_id: UUID, actor: str, now: datetime) -> Alert:
    """Note that somebody takes care of it: it is silent until it is over, or a day later.

    One that is over or acknowledged already stays as it is.

    Raises:
        AlertNotFoundError: There is none with this id.
    """
    if await queries.acknowledge(uow.session, alert_id=alert_id, actor=actor, now=now):
        await audit(
            uow,
            actor=actor,
            action="acknowledge_alert",
            subject=str(alert_id),
            detail={},
            now=now,
        )
    return await get_alert(uow, alert_id)


async def list_alerts(
    uow: UnitOfWork,
    *,
    status: AlertStatus | None = None,
    kind: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[Alert]:
    """List alerts, the last seen first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("alerts", status=status, kind=kind)
    after = cursors.read(cursor)
    rows = await queries.list_alerts(
        uow.session, status=status, kind=kind, after=after, limit=limit + 1
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.last_seen_at, row.id))


async def audit(
    uow: UnitOfWork,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any],
    now: datetime,
) -> None:
    """Append a decision to the audit log."""
    await audit_log.note_decision(
        uow, actor=actor, action=action, subject=subject, detail=detail, now=now
    )


async def start_job(uow: UnitOfWork, *, name: str, now: datetime) -> None:
    """Note that a scheduled job begins."""
    await queries.start_job(uow.session, name=name, now=now)


async def finish_job(
    uow: UnitOfWork, *, name: str, duration_ms: int, error: str | None, now: datetime
) -> None:
    """Note how a scheduled job ended; ``error`` is None when it went well."""
    await queries.finish_job(uow.session, name=name, duration_ms=duration_ms, error=error, now=now)


async def list_jobs(uow: UnitOfWork) -> list[ScheduledJobRead]:
    """List every scheduled job with its last run, also those that never ran."""
    seen = await queries.list_jobs(uow.session)
    return [
        ScheduledJobRead(
            name=name,
            schedule=schedule,
            last_started_at=job.last_started_at if job else None,
            last_finished_at=job.last_finished_at if job else None,
            duration_ms=job.duration_ms if job else None,
            last_result=job.last_result if job else None,
            last_error=job.last_error if job else None,
            runs=job.runs if job else 0,
        )
        for name, schedule in SCHEDULE.items()
        for job in [seen.get(name)]
    ]


async def beat(uow: UnitOfWork, *, worker_id: UUID, started_at: datetime, now: datetime) -> None:
    """Note that a worker lives."""
    await queries.beat(uow.session, worker_id=worker_id, started_at=started_at, now=now)


async def skip_time(uow: UnitOfWork, *, skipped: timedelta) -> None:
    """Note that the sandbox's time has skipped so much: no worker was silent in it."""
    await queries.skip_time(uow.session, skipped=skipped)


async def clock_skew(uow: UnitOfWork, *, now: datetime) -> timedelta:
    """Return how far the caller's clock is ahead of the database's; negative when behind."""
    return now - await queries.database_now(uow.session)


async def readiness(uow: UnitOfWork, *, head: str, now: datetime) -> dict[str, str]:
    """Return the state of the parts that the database knows about.

    ``database`` is ``ok`` by having answered; ``migrations`` is ``ok`` or says both revisions;
    ``worker``, ``webhook_backlog``, ``provider`` and ``mail`` are ``ok`` or ``degraded``.
    """
    row = await queries.overview(uow.session)
    worker_late = row.worker_seen_at is None or now - row.worker_seen_at > LATE_AFTER
    backlog_late = row.oldest_event_at is not None and now - row.oldest_event_at > LATE_AFTER
    fits = row.revision == head
    return {
        "database": "ok",
        "migrations": "ok" if fits else f"database at {row.revision}, code needs {head}",
        "worker": "degraded" if worker_late else "ok",
        "webhook_backlog": "degraded" if backlog_late else "ok",
        "webhook_health": "degraded" if row.webhooks_fail else "ok",
        "provider": "degraded" if "openphone" in row.down else "ok",
        "mail": "degraded" if "mail" in row.down else "ok",
    }
