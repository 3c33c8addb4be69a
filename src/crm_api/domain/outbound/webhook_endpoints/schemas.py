"""Requests and responses about webhook endpoints."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.kit.examples import WEBHOOK_SECRET, example
from crm_api.domain.kit.fields import Line200, Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.outbound.live_events.payloads import WebhookEventType
from crm_api.domain.outbound.webhook_endpoints.models import DisabledReason, EndpointStatus

LONGEST_URL = 2_000
LONGEST_GRACE_HOURS = 168.0
DEFAULT_GRACE_HOURS = 24.0

EndpointUrl = Annotated[
    str,
    Text(shortest=1, longest=LONGEST_URL),
    Field(
        description="`https://`, a public address, no user or password; beside the sandbox also "
        "`http://` on this machine.",
        json_schema_extra={"format": "uri"},
    ),
]
EventTypes = Annotated[
    list[WebhookEventType],
    Field(
        default_factory=list,
        max_length=20,
        description="Event types to send; empty: all that your scopes may see.",
    ),
]


class WebhookEndpointCreate(RequestModel):
    """An address that is to get events.

    Attributes:
        description: A free text for people.
    """

    model_config = example(
        url="https://erp.granite.example.com/hooks/crm",
        description="ERP",
        event_types=["message.received", "opt_out"],
    )

    url: EndpointUrl
    description: Line200 = ""
    event_types: EventTypes


class WebhookEndpointUpdate(RequestModel):
    """What changes; a field left out stays.

    A new address or other events also replace the endpoint's scopes by the caller's.

    Attributes:
        description: A free text for people.
    """

    model_config = example(event_types=["message.received", "opt_out", "call.status"])

    url: EndpointUrl = ""
    description: Line200 = ""
    event_types: EventTypes


class WebhookEndpointRead(ReadModel):
    """An address that gets events.

    Attributes:
        url: The address.
        description: A free text for people.
        event_types: Empty means all that ``scopes`` may see.
        scopes: Scopes of the caller who last set the address or the event types.
        created_by: Name of the API key or user.
        disabled_reason: Why the endpoint was disabled; null while it is active.
        disabled_at: When the endpoint was disabled; null while it is active.
        failing_since: First failure since the last success; null when there is none.
        held_until: End of a pause that the endpoint asked for.
    """

    model_config = example(
        url="https://erp.granite.example.com/hooks/crm",
        description="ERP",
        event_types=["message.received", "opt_out"],
        scopes=["contacts:read", "messages:read", "webhooks:write"],
        created_by="ERP",
    )

    id: Id
    url: str
    description: str
    event_types: list[WebhookEventType]
    scopes: list[str]
    created_by: str
    status: EndpointStatus
    disabled_reason: DisabledReason | None
    disabled_at: Instant | None
    failing_since: Instant | None
    held_until: Instant | None
    created_at: Instant
    updated_at: Instant


class WebhookEndpointCreated(WebhookEndpointRead):
    """A new endpoint with its signing secret, which is shown only this once.

    Attributes:
        secret: The secret that signs the deliveries. It is shown only in this answer.
    """

    model_config = example(WebhookEndpointRead, secret=WEBHOOK_SECRET)

    secret: str


class WebhookSecretRotate(RequestModel):
    """How a secret is replaced.

    Attributes:
        grace_hours: Hours in which the old secret signs beside the new one; 0 ends it at once.
    """

    model_config = example(grace_hours=48)

    grace_hours: Annotated[float, Field(ge=0, le=LONGEST_GRACE_HOURS)] = DEFAULT_GRACE_HOURS


class WebhookSecretRotated(ReadModel):
    """The new secret, shown only this once, and until when the old one signs too.

    Attributes:
        secret: The secret that signs the deliveries. It is shown only in this answer.
        previous_signs_until: Until when the old secret signs too.
    """

    model_config = example(secret=WEBHOOK_SECRET, previous_signs_until="2026-12-01T14:05:12.000Z")

    secret: str
    previous_signs_until: Instant
