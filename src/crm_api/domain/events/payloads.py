"""Events as webhook endpoints get them: one named shape for each type.

They name what happened and whom it is about by ids; nobody's number, name or text leaves with
them. Whoever needs more asks for it, with a key that may see it.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from crm_api.domain.events.log import LoggedEvent
from crm_api.domain.events.schemas import EventType
from crm_api.domain.schemas import Id, Instant, ReadModel


class WebhookEventType(StrEnum):
    """What an endpoint can be told.

    All that is in the log but ``campaign.counters``: that says only that counts changed, a few
    times a second while a campaign sends. Statistics are asked for when somebody looks at them.
    """

    MESSAGE_RECEIVED = EventType.MESSAGE_RECEIVED.value
    MESSAGE_STATUS = EventType.MESSAGE_STATUS.value
    CALL_STATUS = EventType.CALL_STATUS.value
    CAMPAIGN_STATUS = EventType.CAMPAIGN_STATUS.value
    IMPORT_PROGRESS = EventType.IMPORT_PROGRESS.value
    CONTACT_CREATED = EventType.CONTACT_CREATED.value
    OPT_OUT = EventType.OPT_OUT.value
    OPT_IN = EventType.OPT_IN.value
    ALERT = EventType.ALERT.value


TEST_TYPE = "webhook.test"
"""Sent on request alone, whatever an endpoint asks for."""

CampaignId = Annotated[Id | None, Field(description="The campaign that it belongs to.")]


class MessageFacts(ReadModel):
    """A text, and how far it has come."""

    message_id: Id
    status: str = Field(
        description="received, queued, sent, delivered, failed, undelivered or unknown."
    )
    error_code: str | None = Field(default=None, description="The provider's, when it failed.")
    contact_id: Id | None = None
    conversation_id: Id | None = None
    line_id: Id | None = None
    campaign_id: CampaignId = None


class CallFacts(ReadModel):
    """A call, and how far it has come."""

    call_id: Id
    status: str = Field(
        description="As the provider says: ringing, answered, forwarded, missed, completed …"
    )
    is_over: bool
    direction: str | None = Field(default=None, description="incoming or outgoing.")
    contact_id: Id | None = None
    conversation_id: Id | None = None
    line_id: Id | None = None


class CampaignFacts(ReadModel):
    """A campaign's move from one status to another."""

    campaign_id: Id
    status: str
    was: str
    paused_reason: str | None = None
    blocked_reason: str | None = None


class ImportFacts(ReadModel):
    """How far an import or its undo is."""

    import_id: Id
    status: str = Field(description="pending, running, completed, failed or cancelled.")
    dry_run: bool | None = None
    rows_total: int | None = None
    rows_processed: int | None = None
    created: int | None = None
    updated: int | None = None
    unchanged: int | None = None
    duplicates_in_file: int | None = None
    invalid: int | None = None
    undo: dict[str, Any] | None = Field(default=None, description="Of the undo, if there is one.")


class ContactFacts(ReadModel):
    """The contact that it is about."""

    contact_id: Id


class AlertFacts(ReadModel):
    """An alert that came up, was acknowledged, or is over."""

    alert_id: Id
    kind: str
    status: str = Field(description="open, acknowledged or resolved.")


class TestFacts(ReadModel):
    """Which endpoint is tried."""

    __test__ = False  # no test of pytest's

    endpoint_id: Id


class EventPayload(ReadModel):
    """What all have in common, as Standard Webhooks recommends: type, timestamp, data."""

    type: str
    timestamp: Instant = Field(description="When it happened.")


class MessageReceivedEvent(EventPayload):
    """Somebody texted a line."""

    type: Literal["message.received"]
    data: MessageFacts


class MessageStatusEvent(EventPayload):
    """A text to somebody is new here, or came further."""

    type: Literal["message.status"]
    data: MessageFacts


class CallStatusEvent(EventPayload):
    """A call began, or came further."""

    type: Literal["call.status"]
    data: CallFacts


class CampaignStatusEvent(EventPayload):
    """A campaign began, paused or ended."""

    type: Literal["campaign.status"]
    data: CampaignFacts


class ImportProgressEvent(EventPayload):
    """A chunk of an import or of its undo is written, or it ended."""

    type: Literal["import.progress"]
    data: ImportFacts


class ContactCreatedEvent(EventPayload):
    """A contact was added by the API, or by a text or call from an unknown number."""

    type: Literal["contact.created"]
    data: ContactFacts


class OptOutEvent(EventPayload):
    """A contact's number was opted out."""

    type: Literal["opt_out"]
    data: ContactFacts


class OptInEvent(EventPayload):
    """A contact's number was opted in again."""

    type: Literal["opt_in"]
    data: ContactFacts


class AlertEvent(EventPayload):
    """An alert came up, was acknowledged, or is over."""

    type: Literal["alert"]
    data: AlertFacts


class TestEvent(EventPayload):
    """Somebody tries whether an endpoint gets what it is sent."""

    __test__ = False  # no test of pytest's

    type: Literal["webhook.test"]
    data: TestFacts


PAYLOADS: dict[str, type[EventPayload]] = {
    WebhookEventType.MESSAGE_RECEIVED: MessageReceivedEvent,
    WebhookEventType.MESSAGE_STATUS: MessageStatusEvent,
    WebhookEventType.CALL_STATUS: CallStatusEvent,
    WebhookEventType.CAMPAIGN_STATUS: CampaignStatusEvent,
    WebhookEventType.IMPORT_PROGRESS: ImportProgressEvent,
    WebhookEventType.CONTACT_CREATED: ContactCreatedEvent,
    WebhookEventType.OPT_OUT: OptOutEvent,
    WebhookEventType.OPT_IN: OptInEvent,
    WebhookEventType.ALERT: AlertEvent,
    TEST_TYPE: TestEvent,
}
"""The shape of each type that goes out."""

_FACTS: dict[str, tuple[str, type[ReadModel]]] = {
    WebhookEventType.MESSAGE_RECEIVED: ("message_id", MessageFacts),
    WebhookEventType.MESSAGE_STATUS: ("message_id", MessageFacts),
    WebhookEventType.CALL_STATUS: ("call_id", CallFacts),
    WebhookEventType.CAMPAIGN_STATUS: ("campaign_id", CampaignFacts),
    WebhookEventType.IMPORT_PROGRESS: ("import_id", ImportFacts),
    WebhookEventType.CONTACT_CREATED: ("contact_id", ContactFacts),
    WebhookEventType.OPT_OUT: ("contact_id", ContactFacts),
    WebhookEventType.OPT_IN: ("contact_id", ContactFacts),
    WebhookEventType.ALERT: ("alert_id", AlertFacts),
}
"""What ``data`` calls the event's subject, and the shape of ``data``."""


def facts_of(event: LoggedEvent) -> dict[str, Any]:
    """Return the ``data`` of an event of one of these types; what is not known of it is null."""
    subject, shape = _FACTS[event.type]
    told = {"campaign_id": event.campaign_id, **event.data, subject: event.subject_id}
    return shape.model_validate(told).model_dump(mode="json")
