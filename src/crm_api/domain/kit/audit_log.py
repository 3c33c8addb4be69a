"""The audit log: who changed what, and when.

Use cases write entries about decisions. If a request changes data without such an entry, a general
entry is added in the same transaction. So a new route needs no code for the audit log. Entries
contain no request bodies, and no text except names of API keys and users.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy import BigInteger, Identity, Index, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.examples import CAMPAIGN, example, example_id
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.schemas import Instant, ReadModel
from crm_api.platform.database import Base, UnitOfWork


class AuditEntry(Base):
    """One action of a caller or of the service.

    A database trigger refuses to change an entry. It also refuses to delete an entry that is
    younger than a year.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("idx_audit_log_created", "created_at", "id"),
        Index("idx_audit_log_subject", "subject", "created_at", "id"),
        Index("idx_audit_log_actor", "actor", "created_at", "id"),
        Index(
            "idx_audit_log_actor_id",
            "actor_id",
            "created_at",
            "id",
            postgresql_where=text("actor_id IS NOT NULL"),
        ),
        Index("idx_audit_log_act", text("COALESCE(operation, action)"), "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    actor: Mapped[str]
    actor_id: Mapped[str | None]
    """The id of the API key or user; None if the service itself or a CLI command acted."""
    action: Mapped[str]
    operation: Mapped[str | None]
    """The operationId of the request that caused the action; None outside of requests."""
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    request_id: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[datetime]


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Selects entries of the audit log; a field that is None does not restrict the selection."""

    actor: str | None = None
    actor_id: str | None = None
    action: str | None = None
    subject: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class AuditEntryRead(ReadModel):
    """An entry of the audit log: who did what, when, to which resource, and from where."""

    model_config = example(
        id="48213",
        actor_id=example_id("user"),
        action="start_campaign",
        subject=CAMPAIGN,
        detail={"method": "POST", "route": "/v1/campaigns/{campaign_id}/start", "status": 200},
        request_id="0b9f6c1f7a5d4c6f8e2d1c3b4a596877",
        address="203.0.113.7",
    )

    id: Annotated[str, Field(description="The id of the entry. A later entry has a larger id.")]
    created_at: Instant
    actor: Annotated[
        str,
        Field(
            description="Who acted: the name of an API key, the e-mail address of a user, or the "
            "name of a part of the service."
        ),
    ]
    actor_id: Annotated[
        str | None,
        Field(
            description="The id of the API key or user; null if the service itself or a CLI "
            "command acted."
        ),
    ]
    action: Annotated[
        str,
        Field(
            description="The operationId of the request that caused the entry. If the service "
            "itself caused the entry, this is the name of the decision that it made."
        ),
    ]
    decision: Annotated[
        str | None,
        Field(
            description="The name of the decision that the request made. It is null if the request "
            "made no decision, or if `action` already contains the name of the decision."
        ),
    ]
    subject: Annotated[
        str | None,
        Field(
            description="The id of the resource that was changed or created; null if the entry is "
            "about no single resource."
        ),
    ]
    detail: Annotated[
        dict[str, Any],
        Field(description="For a request: its route, status and ids. For a decision: its details."),
    ]
    request_id: Annotated[
        str | None,
        Field(description="The X-Request-ID of the request; null if no request caused the entry."),
    ]
    address: Annotated[
        str | None,
        Field(
            description="The IP address from which the request came. It is null if no request "
            "caused the entry, and empty if the address is not known."
        ),
    ]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Build the response from a stored entry."""
        act = entry.operation or entry.action
        return cls.built_from(
            entry,
            id=str(entry.id),
            action=act,
            decision=entry.action if entry.action != act else None,
            subject=entry.subject or None,
        )


DELETED_AT_ONCE = 5_000
"""The largest number of audit log entries that one clean-up deletes."""


async def note_decision(
    uow: UnitOfWork,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any],
    now: datetime,
) -> None:
    """Append an entry about a decision to the audit log.

    During a request, the entry also has the id and operationId of the request, and the id and
    network address of the caller.

    Args:
        actor: The name of the API key, user or part of the service that decided.
        subject: The id or name of the thing that the decision is about.
    """
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
    await uow.session.execute(insert(AuditEntry), values)
    uow.is_audited = True


_INSERT_IF_CHANGED = text("""
    INSERT INTO audit_log (actor, actor_id, action, operation, subject, detail, request_id,
                           address, created_at)
    SELECT :actor, :actor_id, :operation, :operation, :subject, CAST(:detail AS jsonb),
           :request_id, :address, :created_at
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
""")
"""SQL that inserts an entry only if the request has changed something in the database.

PostgreSQL gives a transaction an id when the transaction first writes or locks a row. So a
transaction without an id has changed nothing.
"""


async def note_request(uow: UnitOfWork, *, status: int, made_id: str | None, now: datetime) -> None:
    """Append an entry to the audit log for a request that changed something.

    Nothing is added if the transaction has already written an entry.

    Args:
        status: The HTTP status of the response.
        made_id: The id of the resource that the request created; None if it created nothing.
    """
    origin = uow.origin
    if origin is None or uow.is_audited:
        return
    detail: dict[str, Any] = {"route": origin.route, "status": status, **origin.ids}
    if made_id is not None:
        detail["id"] = made_id
    values = {
        "actor": origin.actor,
        "actor_id": origin.actor_id,
        "operation": origin.operation,
        "subject": next(iter(origin.ids.values()), made_id or ""),
        "detail": json.dumps(detail),
        "request_id": origin.request_id,
        "address": origin.address,
        "created_at": now,
    }
    await uow.session.execute(_INSERT_IF_CHANGED, values)


async def list_entries(
    uow: UnitOfWork, wanted: AuditFilter, *, cursor: str | None, limit: int
) -> Page[AuditEntry]:
    """Return a page of audit entries, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("audit_log", wanted=wanted)
    after = cursors.read(cursor)
    rows = await fetch_entries(
        uow.session,
        wanted,
        after=None if after is None else (after[0], after[1].int % 2**63),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, UUID(int=row.id)))


async def fetch_entries(
    session: AsyncSession,
    wanted: AuditFilter,
    *,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[AuditEntry]:
    """Fetch up to ``limit`` audit entries after a position, newest first."""
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


_DELETE_OLD = text("SELECT forget_audit_entries(:before, :limit)")
"""SQL that deletes entries that were written before ``before`` and are older than a year.

The database role of the service has no right to delete entries. But the database function
``forget_audit_entries`` has this right.
"""


async def clean_up(uow: UnitOfWork, *, kept_for: timedelta, now: datetime) -> int:
    """Delete up to ``DELETED_AT_ONCE`` entries of the audit log that are older than ``kept_for``.

    Entries of the last year are never deleted.

    Returns:
        The number of deleted entries.
    """
    values = {"before": now - kept_for, "limit": DELETED_AT_ONCE}
    return int(await uow.session.scalar(_DELETE_OLD, values) or 0)
