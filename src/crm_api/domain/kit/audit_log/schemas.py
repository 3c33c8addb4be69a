"""The filter and the responses of the audit log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from crm_api.domain.kit.audit_log.models import AuditEntry
from crm_api.domain.kit.examples import CAMPAIGN, example, example_id
from crm_api.domain.kit.schemas import Instant, ReadModel


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
        Field(description="The id of the API key or user; null if the service or a command acted."),
    ]
    action: Annotated[
        str,
        Field(
            description="The operationId of the request. If no request caused the entry: the "
            "name of the decision."
        ),
    ]
    decision: Annotated[
        str | None,
        Field(
            description="The name of the decision that the request made; null if there is none, "
            "or if `action` is its name."
        ),
    ]
    subject: Annotated[
        str | None,
        Field(
            description="The id of the resource that was changed or created; null if there is none."
        ),
    ]
    detail: Annotated[
        dict[str, Any],
        Field(description="For a request: its route, status and ids. For a decision: its details."),
    ]
    request_id: Annotated[
        str | None, Field(description="The X-Request-ID of the request; null if there was none.")
    ]
    address: Annotated[
        str | None,
        Field(
            description="The network address of the sender of the request; null if there was none."
        ),
    ]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Build the response from a stored entry."""
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
