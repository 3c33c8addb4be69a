"""The audit log's filter and answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from crm_api.domain.kit.audit_log.models import AuditEntry
from crm_api.domain.kit.examples import CAMPAIGN, example, example_id
from crm_api.domain.kit.schemas import Instant, ReadModel


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted; None does not restrict."""

    actor: str | None = None
    actor_id: str | None = None
    action: str | None = None
    subject: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class AuditEntryRead(ReadModel):
    """Who did what, when, to what, and from where."""

    model_config = example(
        id="48213",
        actor_id=example_id("user"),
        action="start_campaign",
        subject=CAMPAIGN,
        detail={"method": "POST", "route": "/v1/campaigns/{campaign_id}/start", "status": 200},
        request_id="0b9f6c1f7a5d4c6f8e2d1c3b4a596877",
        address="203.0.113.7",
    )

    id: Annotated[str, Field(description="Ascending in the order of writing.")]
    created_at: Instant
    actor: Annotated[
        str,
        Field(description="A key's name, a user's e-mail address, or a part of the service."),
    ]
    actor_id: Annotated[
        str | None,
        Field(description="Id of the key or user; null if the service or a command acted."),
    ]
    action: Annotated[
        str, Field(description="The operationId of the request; otherwise what the service did.")
    ]
    decision: Annotated[
        str | None, Field(description="What was decided, if that says more than the action.")
    ]
    subject: Annotated[
        str | None,
        Field(description="First id of the path, or id of the created resource; null if neither."),
    ]
    detail: Annotated[
        dict[str, Any],
        Field(description="For a request: route, status and ids. For a decision: its details."),
    ]
    request_id: Annotated[str | None, Field(description="The value of X-Request-ID.")]
    address: Annotated[str | None, Field(description="The client address of the request.")]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Shape an entry for the API."""
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
