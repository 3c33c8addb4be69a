"""Webhook endpoints in and out."""

from typing import Annotated

from pydantic import Field, StringConstraints

from crm_api.domain.events.payloads import WebhookEventType
from crm_api.domain.fields import Line200
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.webhook_endpoints.models import DisabledReason, EndpointStatus

LONGEST_URL = 2_000
LONGEST_GRACE_HOURS = 168.0
DEFAULT_GRACE_HOURS = 24.0

EndpointUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_URL),
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
        description="What it is told; empty: all that your scopes may see.",
    ),
]


class WebhookEndpointCreate(RequestModel):
    """An address that shall be told what happens."""

    url: EndpointUrl
    description: Line200 = ""
    event_types: EventTypes


class WebhookEndpointUpdate(RequestModel):
    """What changes; a field left out stays.

    With another address or other events, what it may see is set anew by the caller's scopes.
    """

    url: EndpointUrl = ""
    description: Line200 = ""
    event_types: EventTypes


class WebhookEndpointRead(ReadModel):
    """An address that is told what happens.

    Attributes:
        event_types: Empty: all that ``scopes`` may see.
        scopes: Of whoever last said where it is and what it gets.
        created_by: The key's or user's name.
        failing_since: The first failure since the last success; null while all is well.
        held_until: It asked to be left alone until then.
    """

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
    """A new endpoint with the secret that its messages are signed with, shown only this once."""

    secret: str


class WebhookSecretRotate(RequestModel):
    """How a secret is replaced.

    Attributes:
        grace_hours: So long the old secret signs beside the new one; 0 ends it at once.
    """

    grace_hours: Annotated[float, Field(ge=0, le=LONGEST_GRACE_HOURS)] = DEFAULT_GRACE_HOURS


class WebhookSecretRotated(ReadModel):
    """The new secret, shown only this once, and until when the old one signs too."""

    secret: str
    previous_signs_until: Instant
