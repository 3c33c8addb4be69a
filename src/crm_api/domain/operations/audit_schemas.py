"""The audit log in and out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from crm_api.domain.operations.models import AuditEntry
from crm_api.domain.schemas import Instant, ReadModel


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted; None selects nothing."""

    actor: str | None = None
    actor_id: str | None = None
    action: str | None = None
    subject: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class AuditEntryRead(ReadModel):
    """Who did what, when, to what, and from where."""

    id: Annotated[str, Field(description="Ascending in the order of writing.")]
    created_at: Instant
    actor: Annotated[
        str,
        Field(description="A key's name, a user's e-mail address, or the part of the service."),
    ]
    actor_id: Annotated[
        str | None, Field(description="Of the key or user; null when the service or a command did.")
    ]
    action: Annotated[
        str, Field(description="The operationId of the request; else what the service did.")
    ]
    decision: Annotated[
        str | None, Field(description="What was decided, where that says more than the action.")
    ]
    subject: Annotated[
        str | None,
        Field(description="The first id of the path, or the id of what was made; null if neither."),
    ]
    detail: Annotated[
        dict[str, Any],
        Field(description="Of a request its route, status and ids; of a decision what it was."),
    ]
    request_id: Annotated[str | None, Field(description="As in X-Request-ID.")]
    address: Annotated[str | None, Field(description="From where the request came.")]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Show an entry."""
        act = entry.operation or entry.action
        return cls(
            id=str(entry.id),
            created_at=entry.created_at,
            actor=entry.actor,
            actor_id=entry.actor_id,
            action=act,
            decision=entry.action if entry.action != act else None,
            subject=entry.subject or None,
            detail=entry.detail,
            request_id=entry.request_id,
            address=entry.address,
        )
