"""SQL on alerts, heartbeats and scheduled jobs."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.operations.models import Alert, AuditEntry, ScheduledJob, WorkerHeartbeat
from crm_api.ids import new_id

RAISE_ALERT = text("""
    INSERT INTO alert (id, kind, subject, detail, context, first_seen_at, last_seen_at)
    VALUES (:id, :kind, :subject, :detail, :context, :now, :now)
    ON CONFLICT (kind, subject) DO UPDATE
    SET detail = excluded.detail, context = excluded.context, last_seen_at = excluded.last_seen_at,
        count = alert.count + 1, resolved_at = NULL
""").bindparams(bindparam("context", type_=JSONB))


async def raise_alert(
    session: AsyncSession,
    *,
    kind: str,
    subject: str,
    detail: str,
    context: dict[str, Any],
    now: datetime,
) -> None:
    """Add an alert, or count it again."""
    await session.execute(
        RAISE_ALERT,
        {
            "id": new_id(),
            "kind": kind,
            "subject": subject,
            "detail": detail,
            "context": context,
            "now": now,
        },
    )


async def resolve_alert(session: AsyncSession, *, kind: str, subject: str, now: datetime) -> None:
    """Mark an alert as over."""
    await session.execute(
        update(Alert)
        .where(Alert.kind == kind, Alert.subject == subject, Alert.resolved_at.is_(None))
        .values(resolved_at=now)
    )


async def list_alerts(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Alert]:
    """Fetch alerts, the last seen first."""
    statement = select(Alert)
    if after is not None:
        statement = statement.where(tuple_(Alert.last_seen_at, Alert.id) < after)
    statement = statement.order_by(Alert.last_seen_at.desc(), Alert.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def start_job(session: AsyncSession, *, name: str, now: datetime) -> None:
    """Note that a scheduled job begins."""
    statement = insert(ScheduledJob).values(name=name, last_started_at=now, runs=1)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"last_started_at": now, "runs": ScheduledJob.runs + 1},
        )
    )


async def finish_job(
    session: AsyncSession, *, name: str, duration_ms: int, error: str | None, now: datetime
) -> None:
    """Note how a scheduled job ended."""
    await session.execute(
        update(ScheduledJob)
        .where(ScheduledJob.name == name)
        .values(
            last_finished_at=now,
            duration_ms=duration_ms,
            last_result="ok" if error is None else "failed",
            last_error=error,
        )
    )


async def list_jobs(session: AsyncSession) -> dict[str, ScheduledJob]:
    """Fetch every job that ever ran, by name."""
    return {job.name: job for job in await session.scalars(select(ScheduledJob))}


FORGET_SILENT = text("""
    DELETE FROM worker_heartbeat
    WHERE seen_at < CAST(:now AS timestamptz) - interval '1 day'
""")


async def beat(
    session: AsyncSession, *, worker_id: UUID, started_at: datetime, now: datetime
) -> None:
    """Note that a worker lives, and forget those that have been silent for a day."""
    statement = insert(WorkerHeartbeat).values(id=worker_id, started_at=started_at, seen_at=now)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now})
    )
    await session.execute(FORGET_SILENT, {"now": now})


OVERVIEW = text("""
    SELECT (SELECT max(seen_at) FROM worker_heartbeat) AS worker_seen_at,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS oldest_event_at,
           (SELECT coalesce(bool_or(last.status = 'failed'), false)
              FROM (VALUES ('test_text'), ('silence'), ('provider')) AS k (side)
             CROSS JOIN LATERAL (
                 SELECT c.status FROM webhook_health_check c
                  WHERE c.side = k.side AND c.status <> 'waiting'
                  ORDER BY c.created_at DESC LIMIT 1) last) AS webhooks_fail,
           (SELECT version_num FROM alembic_version) AS revision
""")


async def overview(session: AsyncSession) -> Row[Any]:
    """Fetch what readiness needs in one statement."""
    return (await session.execute(OVERVIEW)).one()


async def audit(
    session: AsyncSession,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any],
    now: datetime,
) -> None:
    """Append to the audit log."""
    session.add(
        AuditEntry(actor=actor, action=action, subject=subject, detail=detail, created_at=now)
    )
    await session.flush()


async def database_now(session: AsyncSession) -> datetime:
    """Return the database's clock."""
    instant: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return instant
