"""Who did what: one entry for every request that changed something, and what was decided.

A decision is written by the service that takes it, with what it was about. A request whose
transaction holds none gets an entry of its own, in that transaction and right before its commit:
whoever adds a route need not think of it. Bodies are in neither, nor any text but names of keys
and users.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import audit_queries
from crm_api.domain.operations.audit_schemas import AuditFilter
from crm_api.domain.operations.models import AuditEntry
from crm_api.domain.paging import Cursors, Page

REMOVED_AT_ONCE = 5_000


async def note_decision(
    uow: UnitOfWork,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any],
    now: datetime,
) -> None:
    """Append a decision; in a request's transaction it tells the request too."""
    values: dict[str, object] = {
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": detail,
        "created_at": now,
    }
    if uow.origin is not None:
        values |= {
            "actor_id": uow.origin.actor_id,
            "operation": uow.origin.operation,
            "request_id": uow.origin.request_id,
            "address": uow.origin.address,
        }
    await audit_queries.insert_entry(uow.session, values=values)
    uow.is_audited = True


async def note_request(uow: UnitOfWork, *, status: int, made_id: str | None, now: datetime) -> None:
    """Append the entry of the request, unless it changed nothing or a decision tells of it.

    Args:
        status: Of the answer.
        made_id: The id in the answer, where the request has made something.
    """
    origin = uow.origin
    if origin is None or uow.is_audited:
        return
    detail: dict[str, Any] = {"route": origin.route, "status": status, **origin.ids}
    if made_id is not None:
        detail["id"] = made_id
    await audit_queries.insert_request(
        uow.session,
        values={
            "actor": origin.actor,
            "actor_id": origin.actor_id,
            "operation": origin.operation,
            "subject": next(iter(origin.ids.values()), made_id or ""),
            "request_id": origin.request_id,
            "address": origin.address,
            "created_at": now,
        },
        detail=detail,
    )


async def list_entries(
    uow: UnitOfWork, wanted: AuditFilter, *, cursor: str | None, limit: int
) -> Page[AuditEntry]:
    """List entries, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("audit_log", wanted=wanted)
    after = cursors.read(cursor)
    rows = await audit_queries.list_entries(
        uow.session,
        wanted,
        after=None if after is None else (after[0], after[1].int % 2**63),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, UUID(int=row.id)))


async def clean_up(uow: UnitOfWork, *, kept_for: timedelta, now: datetime) -> int:
    """Remove some entries that are older; how many. None of the last year can be removed."""
    return await audit_queries.remove(uow.session, before=now - kept_for, limit=REMOVED_AT_ONCE)
