"""Raise, resolve, acknowledge and list alerts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import Alert, AlertStatus
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

log = structlog.get_logger()

ACKNOWLEDGED_FOR = timedelta(days=1)
"""If the problem of an acknowledged alert still happens after this time, the alert opens again."""
REPORT_ALERTS = Job(name=JobName.SEND_ALERTS, delay_seconds=5)
"""The job that reports alerts. Alerts that open within its delay are reported together."""
ENDS_BY_SILENCE = {
    timedelta(minutes=15): (
        AlertKind.CLOCK_SKEW,
        AlertKind.DISK_LOW,
        AlertKind.PROVIDER_ASKED_TO_WAIT,
        AlertKind.PROVIDER_LIST_LAGS,
    ),
    timedelta(hours=1): (AlertKind.WEBHOOK_REFUSED,),
}
"""Kinds of alerts that end by time: for each time, the kinds that are resolved after it.

While such a problem lasts, its alert is raised again and again. No code detects the end of the
problem. So the alert is resolved when it was not raised again for the given time.
"""


class AlertNotFoundError(NotFoundError):
    """There is no alert with the requested id."""

    code = "alert_not_found"
    title = "Alert not found"
    detail = "There is no alert with this id. GET /v1/alerts lists all alerts."


# SQL condition: an alert is raised that exists already, and it opens again. It opens again if it
# was resolved. It also opens again if it was acknowledged so long ago that the user may have
# forgotten it. In other cases, only the count of the alert grows.
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
    uow: UnitOfWork,
    *,
    kind: AlertKind,
    subject: str,
    detail: str,
    now: datetime,
    context: dict[str, Any] | None = None,
    times: int = 1,
) -> None:
    """Open an alert; if it is already open, increase its count.

    There is one alert for each pair of a kind and a subject (the thing that has the problem). When
    the alert opens, it is logged, and the job that reports alerts is requested.

    Args:
        detail: What happened and what to do.
        times: How often the problem happened since the alert was last raised.
    """
    values = {
        "id": new_id(),
        "kind": kind,
        "subject": subject,
        "detail": detail,
        "context": context or {},
        "times": times,
        "acknowledged_for": ACKNOWLEDGED_FOR.total_seconds(),
        "now": now,
    }
    if (await uow.session.execute(RAISE_ALERT, values)).scalar_one():
        log.warning("alert opened", kind=kind, subject=subject)
        uow.after_commit(REPORT_ALERTS)


async def resolve_alert(uow: UnitOfWork, *, kind: AlertKind, subject: str, now: datetime) -> None:
    """Mark an alert as resolved, and request the job that reports alerts.

    The subject is the thing that has the problem. Nothing happens if no alert of this kind and
    subject is open.
    """
    resolved = await uow.session.scalar(
        update(Alert)
        .where(*_open(kind), Alert.subject == subject)
        .values(resolved_at=now)
        .returning(Alert.id)
    )
    if resolved is not None:
        log.info("alert resolved", kind=kind, subject=subject)
        uow.after_commit(REPORT_ALERTS)


async def resolve_silent_alerts(uow: UnitOfWork, *, now: datetime) -> None:
    """Resolve alerts that were not raised again for some time.

    ``ENDS_BY_SILENCE`` contains this time for some kinds of alerts. This function does not resolve
    alerts of other kinds.
    """
    for silence, kinds in ENDS_BY_SILENCE.items():
        resolved = await uow.session.execute(
            update(Alert)
            .where(
                Alert.resolved_at.is_(None),
                Alert.last_seen_at < now - silence,
                Alert.kind.in_(kinds),
            )
            .values(resolved_at=now)
            .returning(Alert.kind, Alert.subject)
        )
        for kind, subject in resolved:
            log.info("alert resolved", kind=kind, subject=subject)
            uow.after_commit(REPORT_ALERTS)


async def list_open_alerts_by_subject(uow: UnitOfWork, *, kind: AlertKind) -> dict[str, datetime]:
    """Return when each unresolved alert of a kind was last raised, by the subject of the alert.

    The subject is the thing that has the problem: its id or a name.
    """
    found = await uow.session.execute(select(Alert.subject, Alert.last_seen_at).where(*_open(kind)))
    return {row.subject: row.last_seen_at for row in found}


async def list_open_subjects(uow: UnitOfWork, *, kind: AlertKind) -> Sequence[str]:
    """Return the subjects of the unresolved alerts of a kind, in no particular order.

    A subject is the thing that has the problem: its id or a name.
    """
    return (await uow.session.scalars(select(Alert.subject).where(*_open(kind)))).all()


def _open(kind: AlertKind) -> tuple[ColumnElement[bool], ...]:
    return (Alert.kind == kind, Alert.resolved_at.is_(None))


async def get_alert(uow: UnitOfWork, alert_id: UUID) -> Alert:
    """Read one alert from the database.

    Raises:
        AlertNotFoundError: There is no alert with this id.
    """
    return await get_or_raise(uow.session, Alert, alert_id, AlertNotFoundError)


async def acknowledge_alert(uow: UnitOfWork, *, alert_id: UUID, actor: str, now: datetime) -> Alert:
    """Record that a user takes care of an alert.

    If the alert is raised more than ``ACKNOWLEDGED_FOR`` (one day) after the acknowledgement, it
    opens again. An alert that is resolved or already acknowledged does not change. If this call
    acknowledges the alert, the audit log gets an entry.

    Raises:
        AlertNotFoundError: There is no alert with this id.
    """
    acknowledged = await uow.session.scalar(
        update(Alert)
        .where(Alert.id == alert_id, Alert.resolved_at.is_(None), Alert.acknowledged_at.is_(None))
        .values(acknowledged_at=now, acknowledged_by=actor)
        .returning(Alert.id)
    )
    if acknowledged is not None:
        await note_decision(
            uow,
            actor=actor,
            action="acknowledge_alert",
            subject=str(alert_id),
            detail={},
            now=now,
        )
    return await get_alert(uow, alert_id)


_OF_STATUS: dict[AlertStatus, tuple[ColumnElement[bool], ...]] = {
    AlertStatus.OPEN: (Alert.resolved_at.is_(None), Alert.acknowledged_at.is_(None)),
    AlertStatus.ACKNOWLEDGED: (Alert.resolved_at.is_(None), Alert.acknowledged_at.is_not(None)),
    AlertStatus.RESOLVED: (Alert.resolved_at.is_not(None),),
}


async def list_alerts(
    uow: UnitOfWork,
    *,
    status: AlertStatus | None = None,
    kind: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[Alert]:
    """List alerts, the most recently raised first.

    Raises:
        InvalidCursorError: The cursor is from another listing, or from one with other filters.
    """
    cursors = Cursors("alerts", status=status, kind=kind)
    query = select(Alert)
    if status is not None:
        query = query.where(*_OF_STATUS[status])
    if kind is not None:
        query = query.where(Alert.kind == kind)
    at, row_id = Alert.last_seen_at, Alert.id
    return await read_newest(
        uow.session, query, at, row_id, cursors=cursors, cursor=cursor, limit=limit
    )
