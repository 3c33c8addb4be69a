"""Alerts, the audit log's entries, and the state of all parts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.operations import audit_log, queries, schedule
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.operations.errors import AlertNotFoundError
from crm_api.domain.operations.models import Alert, AlertStatus
from crm_api.domain.operations.schedule import LATE_AFTER
from crm_api.domain.paging import Cursors, Page
from crm_api.jobs import Job, JobName

log = structlog.get_logger()

ACKNOWLEDGED_FOR = timedelta(days=1)
"""What still happens after that comes up again: whoever acknowledged it may have forgotten."""
TELL = Job(name=JobName.SEND_ALERTS, delay_seconds=5)
"""What comes up together is told together."""
ENDS_BY_SILENCE = {
    timedelta(minutes=15): (
        AlertKind.CLOCK_SKEW,
        AlertKind.DISK_LOW,
        AlertKind.PROVIDER_LIST_LAGS,
    ),
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


async def standing(uow: UnitOfWork, *, kind: AlertKind) -> dict[str, datetime]:
    """Return what the alerts of a kind that stand are about, each with when it was seen last."""
    return await queries.standing(uow.session, kind=kind)


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


async def clock_skew(uow: UnitOfWork, *, now: datetime) -> timedelta:
    """Return how far the caller's clock is ahead of the database's; negative when behind."""
    return now - await queries.database_now(uow.session)


async def readiness(uow: UnitOfWork, *, head: str, now: datetime) -> dict[str, str]:
    """Return the state of the parts that the database knows about.

    ``database`` is ``ok`` by having answered; ``migrations`` is ``ok`` or says both revisions;
    the others are ``ok`` or ``degraded``. ``jobs`` is degraded when one of the schedule is
    overdue; ``GET /v1/scheduled-jobs`` names it.
    """
    row = await queries.overview(
        uow.session, jobs=tuple(schedule.SCHEDULE), late_after=LATE_AFTER, now=now
    )
    worker_late = row.worker_seen_at is None or now - row.worker_seen_at > LATE_AFTER
    backlog_late = row.oldest_event_at is not None and now - row.oldest_event_at > LATE_AFTER
    fits = row.revision == head
    return {
        "database": "ok",
        "migrations": "ok" if fits else f"database at {row.revision}, code needs {head}",
        "worker": "degraded" if worker_late else "ok",
        "jobs": "degraded" if _are_jobs_late(row, now=now) else "ok",
        "webhook_backlog": "degraded" if backlog_late else "ok",
        "webhook_health": "degraded" if row.webhooks_fail else "ok",
        "provider": "degraded" if "openphone" in row.down else "ok",
        "mail": "degraded" if "mail" in row.down else "ok",
    }


def _are_jobs_late(row: Row[Any], *, now: datetime) -> bool:
    """Tell whether a job is overdue, or has never run though a worker has long been there."""
    covered, started = row.jobs_covered_until, row.worker_started_at
    if covered is not None and schedule.is_overdue(covered, now=now):
        return True
    is_new = row.jobs_known < len(schedule.SCHEDULE)
    return is_new and started is not None and schedule.is_overdue(started, now=now)
