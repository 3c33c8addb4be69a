"""SQL on the audit log."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.operations.audit_schemas import AuditFilter
from crm_api.domain.operations.models import AuditEntry

_INSERT = insert(AuditEntry)
_OF_A_REQUEST = text("""
    INSERT INTO audit_log (actor, actor_id, action, operation, subject, detail, request_id,
                           address, created_at)
    SELECT :actor, :actor_id, :operation, :operation, :subject, CAST(:detail AS jsonb),
           :request_id, :address, :created_at
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
""")
"""A transaction has an id once it has written or locked a row; one that only reads has none."""
_REMOVE = text("SELECT forget_audit_entries(:before, :limit)")
"""The service's own role may not delete here; the function may, what is over a year old."""


async def insert_entry(session: AsyncSession, *, values: dict[str, object]) -> None:
    """Append an entry."""
    await session.execute(_INSERT, values)


async def insert_request(
    session: AsyncSession, *, values: dict[str, object], detail: dict[str, Any]
) -> None:
    """Append the entry of a request whose transaction has changed something."""
    await session.execute(_OF_A_REQUEST, {**values, "detail": json.dumps(detail)})


async def list_entries(
    session: AsyncSession,
    wanted: AuditFilter,
    *,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[AuditEntry]:
    """Fetch entries, newest first."""
    statement = select(AuditEntry)
    if wanted.actor is not None:
        statement = statement.where(AuditEntry.actor == wanted.actor)
    if wanted.actor_id is not None:
        statement = statement.where(AuditEntry.actor_id == wanted.actor_id)
    if wanted.action is not None:
        act = func.coalesce(AuditEntry.operation, AuditEntry.action)
        statement = statement.where(act == wanted.action)
    if wanted.subject is not None:
        statement = statement.where(AuditEntry.subject == wanted.subject)
    if wanted.created_after is not None:
        statement = statement.where(AuditEntry.created_at > wanted.created_after)
    if wanted.created_before is not None:
        statement = statement.where(AuditEntry.created_at < wanted.created_before)
    if after is not None:
        statement = statement.where(tuple_(AuditEntry.created_at, AuditEntry.id) < after)
    statement = statement.order_by(AuditEntry.created_at.desc(), AuditEntry.id.desc())
    return list(await session.scalars(statement.limit(limit)))


async def remove(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Remove some entries from before this instant; how many. Those of a year are not touched."""
    removed = await session.scalar(_REMOVE, {"before": before, "limit": limit})
    return int(removed or 0)
