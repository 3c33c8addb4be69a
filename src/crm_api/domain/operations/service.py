"""Alerts, heartbeats, and what the schedule did last."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import queries
from crm_api.domain.operations.models import Alert
from crm_api.domain.operations.schemas import ScheduledJobRead
from crm_api.domain.paging import Page, decode_cursor, encode_cursor

SCHEDULE = {
    "process_campaign_queue": "every 60 s",
    "process_webhook_backlog": "every 60 s",
    "resolve_unknown_sends": "every 60 s",
    "run_imports": "every 60 s",
    "send_messages": "every 60 s",
}
"""Every scheduled job and how often it runs; the worker registers exactly these."""

HEARTBEAT_SECONDS = 10
LATE_AFTER = timedelta(seconds=90)
"""A worker or a job that is this late is called degraded."""


async def raise_alert(
    uow: UnitOfWork,
    *,
    kind: str,
    subject: str,
    detail: str,
    now: datetime,
    context: dict[str, Any] | None = None,
) -> None:
    """Add an alert; the same kind and subject again is counted, not repeated."""
    await queries.raise_alert(
        uow.session, kind=kind, subject=subject, detail=detail, context=context or {}, now=now
    )


async def resolve_alert(uow: UnitOfWork, *, kind: str, subject: str, now: datetime) -> None:
    """Mark an alert as over; nothing happens when there is none."""
    await queries.resolve_alert(uow.session, kind=kind, subject=subject, now=now)


async def list_alerts(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Alert]:
    """List alerts, the last seen first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    after = decode_cursor(cursor) if cursor else None
    rows = await queries.list_alerts(uow.session, after=after, limit=limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, encode_cursor(rows[-1].last_seen_at, rows[-1].id) if more else None)


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
    await queries.audit(
        uow.session, actor=actor, action=action, subject=subject, detail=detail, now=now
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


async def clock_skew(uow: UnitOfWork, *, now: datetime) -> timedelta:
    """Return how far the caller's clock is ahead of the database's; negative when behind."""
    return now - await queries.database_now(uow.session)


async def readiness(uow: UnitOfWork, *, head: str, now: datetime) -> dict[str, str]:
    """Return the state of the parts that the database knows about.

    ``database`` is ``ok`` by having answered; ``migrations`` is ``ok`` or says both revisions;
    ``worker``, ``webhook_backlog`` and ``webhook_health`` are ``ok`` or ``degraded``.
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
    }
