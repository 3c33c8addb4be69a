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
        description="The address to which events are sent: a public `https://` URL without user "
        "name and password. With the sandbox, `http://` on the same machine is also allowed.",
        json_schema_extra={"format": "uri"},
    ),
]
EventTypes = Annotated[
    list[WebhookEventType],
    Field(
        default_factory=list,
        max_length=20,
        description="The event types to send. An empty list means all types that your scopes "
        "allow.",
    ),
]


class WebhookEndpointCreate(RequestModel):
    """A new webhook endpoint.

    Attributes:
        description: A text for people, for example the name of the receiving system.
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
    """The fields to change. A field that is left out keeps its value.

    If the address or the event types are given, the endpoint gets the scopes of the caller
    instead of its previous scopes.

    Attributes:
        description: A text for people, for example the name of the receiving system.
    """

    model_config = example(event_types=["message.received", "opt_out", "call.status"])

    url: EndpointUrl = ""
    description: Line200 = ""
    event_types: EventTypes


class WebhookEndpointRead(ReadModel):
    """A webhook endpoint: an address to which events are sent.

    Attributes:
        url: The address to which events are sent.
        description: A text for people, such as the name of the receiving system.
        event_types: The event types that are sent; empty means all types that ``scopes`` allow.
        scopes: The scopes of the caller who last set the address or event types. They limit the
            events.
        created_by: The name of the API key or user that created the endpoint.
        status: Whether the endpoint gets events.
        disabled_reason: Why the endpoint was disabled; null while it is active.
        disabled_at: When the endpoint was disabled; null while it is active.
        failing_since: When the first failure since the last success happened; null if not failing.
        held_until: The end of the last pause that the endpoint asked for; null if none is stored.
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
    """A new endpoint with its signing secret, which is shown only in this response.

    Attributes:
        secret: The secret that signs the deliveries. It is shown only in this response.
    """

    model_config = example(WebhookEndpointRead, secret=WEBHOOK_SECRET)

    secret: str


class WebhookSecretRotate(RequestModel):
    """How to replace the signing secret of a webhook endpoint.

    Attributes:
        grace_hours: The number of hours in which the old secret also signs deliveries; 0 ends the
            old secret immediately.
    """

    model_config = example(grace_hours=48)

    grace_hours: Annotated[float, Field(ge=0, le=LONGEST_GRACE_HOURS)] = DEFAULT_GRACE_HOURS


class WebhookSecretRotated(ReadModel):
    """The new signing secret, which is shown only in this response.

    Attributes:
        secret: The secret that signs the deliveries. It is shown only in this response.
        previous_signs_until: Until when the old secret also signs deliveries.
    """

    model_config = example(secret=WEBHOOK_SECRET, previous_signs_until="2026-12-01T14:05:12.000Z")

    secret: str
    previous_signs_until: Instant
