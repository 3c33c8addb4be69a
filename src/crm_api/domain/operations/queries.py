"""SQL on alerts, and on the state of all parts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, bindparam, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.operations.models import Alert, AlertStatus, ScheduledJob, WorkerHeartbeat
from crm_api.domain.operations.schedule_statements import COVERED
from crm_api.ids import new_id

# An alert comes up when it is new, was over, or was acknowledged so long ago that whoever did it
# may have forgotten; what happens meanwhile is counted.
_COMES_UP = """(alert.resolved_at IS NOT NULL OR alert.acknowledged_at
    < CAST(:now AS timestamptz) - make_interval(secs => :acknowledged_for))"""
RAISE_ALERT = text(f"""
    INSERT INTO alert (id, kind, subject, detail, context, count, first_seen_at, last_seen_at,
        opened_at)
    VALUES (:id, :kind, :subject, :detail, :context, :times, :now, :now, :now)
    ON CONFLICT (kind, subject) DO UPDATE
    SET detail = excluded.detail, context = excluded.context, last_seen_at = excluded.last_seen_at,
        count = alert.count + excluded.count, resolved_at = NULL,
        opened_at = CASE WHEN {_COMES_UP} THEN excluded.opened_at ELSE alert.opened_at END,
        acknowledged_at = CASE WHEN {_COMES_UP} THEN NULL ELSE alert.acknowledged_at END,
        acknowledged_by = CASE WHEN {_COMES_UP} THEN NULL ELSE alert.acknowledged_by END
    RETURNING opened_at = :now AS comes_up
""").bindparams(bindparam("context", type_=JSONB))


async def raise_alert(
    session: AsyncSession,
    *,
    kind: str,
    subject: str,
    detail: str,
    context: dict[str, Any],
    times: int,
    acknowledged_for: timedelta,
    now: datetime,
) -> bool:
    """Add an alert, or count it again; True when it comes up."""
    result = await session.execute(
        RAISE_ALERT,
        {
            "id": new_id(),
            "kind": kind,
            "subject": subject,
            "detail": detail,
            "context": context,
            "times": times,
            "acknowledged_for": acknowledged_for.total_seconds(),
            "now": now,
        },
    )
    comes_up: bool = result.scalar_one()
    return comes_up


async def resolve_alert(
    session: AsyncSession, *, kind: str, subject: str, now: datetime
) -> UUID | None:
    """Mark an alert as over; its id, or None when none stands."""
    resolved: UUID | None = await session.scalar(
        update(Alert)
        .where(Alert.kind == kind, Alert.subject == subject, Alert.resolved_at.is_(None))
        .values(resolved_at=now)
        .returning(Alert.id)
    )
    return resolved


async def resolve_silent(
    session: AsyncSession, *, kinds: Sequence[str], before: datetime, now: datetime
) -> Sequence[UUID]:
    """Mark alerts of these kinds as over that have not been seen since ``before``."""
    resolved = await session.scalars(
        update(Alert)
        .where(Alert.resolved_at.is_(None), Alert.last_seen_at < before, Alert.kind.in_(kinds))
        .values(resolved_at=now)
        .returning(Alert.id)
    )
    return resolved.all()


async def standing(session: AsyncSession, *, kind: str) -> dict[str, datetime]:
    """Fetch what alerts of a kind stand about, and when each was seen last."""
    found = await session.execute(
        select(Alert.subject, Alert.last_seen_at).where(
            Alert.kind == kind, Alert.resolved_at.is_(None)
        )
    )
    return {row.subject: row.last_seen_at for row in found}


async def open_subjects(session: AsyncSession, *, kind: str) -> Sequence[str]:
    """Fetch what alerts of a kind stand about."""
    found = await session.scalars(
        select(Alert.subject).where(Alert.kind == kind, Alert.resolved_at.is_(None))
    )
    return found.all()


async def acknowledge(session: AsyncSession, *, alert_id: UUID, actor: str, now: datetime) -> bool:
    """Note that somebody has taken note; False when nobody has to any more."""
    noted = await session.execute(
        update(Alert)
        .where(Alert.id == alert_id, Alert.resolved_at.is_(None), Alert.acknowledged_at.is_(None))
        .values(acknowledged_at=now, acknowledged_by=actor)
        .returning(Alert.id)
    )
    return noted.first() is not None


async def get_alert(session: AsyncSession, alert_id: UUID) -> Alert | None:
    """Fetch one alert as it is now."""
    return await session.get(Alert, alert_id, populate_existing=True)


_STATUS_FILTER: dict[AlertStatus, tuple[ColumnElement[bool], ...]] = {
    AlertStatus.OPEN: (Alert.resolved_at.is_(None), Alert.acknowledged_at.is_(None)),
    AlertStatus.ACKNOWLEDGED: (Alert.resolved_at.is_(None), Alert.acknowledged_at.is_not(None)),
    AlertStatus.RESOLVED: (Alert.resolved_at.is_not(None),),
}


async def list_alerts(
    session: AsyncSession,
    *,
    status: AlertStatus | None = None,
    kind: str | None = None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Alert]:
    """Fetch alerts, the last seen first."""
    statement = select(Alert)
    if status is not None:
        statement = statement.where(*_STATUS_FILTER[status])
    if kind is not None:
        statement = statement.where(Alert.kind == kind)
    if after is not None:
        statement = statement.where(tuple_(Alert.last_seen_at, Alert.id) < after)
    statement = statement.order_by(Alert.last_seen_at.desc(), Alert.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def list_jobs(session: AsyncSession) -> dict[str, ScheduledJob]:
    """Fetch every job that ever ran, by name."""
    return {job.name: job for job in await session.scalars(select(ScheduledJob))}


async def list_workers(session: AsyncSession) -> Sequence[WorkerHeartbeat]:
    """Fetch every worker that is known, those first that were started last."""
    newest = (WorkerHeartbeat.started_at.desc(), WorkerHeartbeat.id.desc())
    return (await session.scalars(select(WorkerHeartbeat).order_by(*newest))).all()


OVERVIEW = text(f"""
    SELECT (SELECT max(seen_at) FROM worker_heartbeat WHERE stopped_at IS NULL) AS worker_seen_at,
           (SELECT min({COVERED}) FROM scheduled_job j
             WHERE j.name = ANY(CAST(:jobs AS text[]))) AS jobs_covered_until,
           (SELECT count(*) FROM scheduled_job j
             WHERE j.name = ANY(CAST(:jobs AS text[]))) AS jobs_known,
           (SELECT min(started_at) FROM worker_heartbeat
             WHERE stopped_at IS NULL
               AND seen_at > CAST(:now AS timestamptz) - make_interval(secs => :late_after))
               AS worker_started_at,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS oldest_event_at,
           (SELECT coalesce(bool_or(last.status = 'failed'
                                 AND last.leg IS DISTINCT FROM 'switched_off'), false)
              FROM (VALUES ('test_text'), ('silence'), ('provider')) AS k (side)
             CROSS JOIN LATERAL (
                 SELECT c.status, c.leg FROM webhook_health_check c
                  WHERE c.side = k.side AND c.status <> 'waiting'
                  ORDER BY c.created_at DESC LIMIT 1) last) AS webhooks_fail,
           ARRAY(SELECT name FROM circuit WHERE opens > 0) AS down,
           (SELECT version_num FROM alembic_version) AS revision
""")


async def overview(
    session: AsyncSession, *, jobs: Sequence[str], late_after: timedelta, now: datetime
) -> Row[Any]:
    """Fetch what readiness needs in one statement."""
    values = {"jobs": list(jobs), "late_after": late_after.total_seconds(), "now": now}
    return (await session.execute(OVERVIEW, values)).one()


async def database_now(session: AsyncSession) -> datetime:
    """Return the database's clock."""
    instant: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return instant
