"""The schemas of the events that are sent to webhook endpoints, one per event type."""

from typing import ClassVar, Literal, get_args

from pydantic import Field

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.examples import CAMPAIGN, CONTACT, LINE, example, example_id
from crm_api.domain.kit.schemas import Instant, ReadModel
from crm_api.domain.outbound.live_events.facts import (
    AlertFacts,
    AppointmentFacts,
    CallFacts,
    CampaignFacts,
    ContactFacts,
    ConversationFacts,
    ImportFacts,
    MessageFacts,
    ReceivedMessageFacts,
    TaskFacts,
    WebhookTestFacts,
)

TEST_TYPE = "webhook.test"
"""Type of the test event. It is sent only on request, whatever the endpoint's event types are."""


class EventPayload(ReadModel):
    """The fields that every event has, as Standard Webhooks recommends.

    Attributes:
        type: The type of the event.
        data: What happened; the fields depend on the type.
    """

    scope: ClassVar[Scope]
    """The scope that allows a caller to see events of this type."""

    type: str
    timestamp: Instant = Field(description="When the event happened.")


class MessageReceivedEvent(EventPayload):
    """A person sent a message to a line."""

    scope = Scope.MESSAGES_READ

    type: Literal["message.received"]
    data: ReceivedMessageFacts


class MessageStatusEvent(EventPayload):
    """A message to a person was added, or its status changed."""

    model_config = example(
        data={
            "message_id": example_id("message"),
            "status": "delivered",
            "error_code": None,
            "contact_id": CONTACT,
            "conversation_id": example_id("conversation"),
            "line_id": LINE,
            "campaign_id": CAMPAIGN,
        }
    )

    scope = Scope.MESSAGES_READ

    type: Literal["message.status"]
    data: MessageFacts


class CallStatusEvent(EventPayload):
    """A call began, or its status changed."""

    scope = Scope.MESSAGES_READ

    type: Literal["call.status"]
    data: CallFacts


class CampaignStatusEvent(EventPayload):
    """The status of a campaign changed."""

    scope = Scope.CAMPAIGNS_READ

    type: Literal["campaign.status"]
    data: CampaignFacts


class ImportProgressEvent(EventPayload):
    """An import, or the undo of an import, has stored some of its rows or has ended."""

    scope = Scope.CONTACTS_READ

    type: Literal["import.progress"]
    data: ImportFacts


class ContactCreatedEvent(EventPayload):
    """A contact was added by the API, or by a message or call from an unknown number."""

    scope = Scope.CONTACTS_READ

    type: Literal["contact.created"]
    data: ContactFacts


class OptOutEvent(EventPayload):
    """A contact's number was opted out."""

    scope = Scope.CONTACTS_READ

    type: Literal["opt_out"]
    data: ContactFacts


class OptInEvent(EventPayload):
    """A contact's number was opted in again."""

    scope = Scope.CONTACTS_READ

    type: Literal["opt_in"]
    data: ContactFacts


class AlertEvent(EventPayload):
    """An alert was raised, acknowledged or resolved."""

    scope = Scope.OPERATIONS

    type: Literal["alert"]
    data: AlertFacts


class TaskChangedEvent(EventPayload):
    """A task was created, changed or deleted."""

    scope = Scope.CONTACTS_READ

    type: Literal["task.changed"]
    data: TaskFacts


class ConversationChangedEvent(EventPayload):
    """The state, waiting time, snooze, assignee or contact of a conversation changed."""

    scope = Scope.MESSAGES_READ

    type: Literal["conversation.changed"]
    data: ConversationFacts


class AppointmentChangedEvent(EventPayload):
    """An appointment was booked or changed."""

    scope = Scope.SALES_READ

    type: Literal["appointment.changed"]
    data: AppointmentFacts


class WebhookTestEvent(EventPayload):
    """A test event, to check that a webhook endpoint receives deliveries."""

    __test__ = False  # pytest must not collect this class as a test

    type: Literal["webhook.test"]
    data: WebhookTestFacts


def _type_of(model: type[EventPayload]) -> str:
    name: str = get_args(model.model_fields["type"].annotation)[0]
    return name


PAYLOADS: dict[str, type[EventPayload]] = {
    _type_of(model): model for model in EventPayload.__subclasses__()
}
"""The schema of each event type that is sent to endpoints, by type."""

SCOPE_OF = {
    **{EventType(name): model.scope for name, model in PAYLOADS.items() if name != TEST_TYPE},
    EventType.CAMPAIGN_COUNTERS: Scope.CAMPAIGNS_READ,
    EventType.CONVERSATION_PRESENCE: Scope.MESSAGES_READ,
}
"""The scope that allows each event type; ``campaigns:read`` also allows all campaign events."""
