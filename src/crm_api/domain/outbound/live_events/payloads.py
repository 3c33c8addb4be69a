"""The events that are sent to webhook endpoints: their types, and a schema for each type.

``EventPayload`` has the fields of every event. The models of its field ``data`` have the suffix
``Facts``.

Events contain no phone number, name or message body. The exception is ``message.received``, for
receivers with the scope ``messages:read`` (``message_details``).
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import AlertStatus
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.examples import CAMPAIGN, CONTACT, LINE, NOW, REPLY, example, example_id
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.messaging.models.timeline import Direction, MessageStatus
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, PauseReason
from crm_api.domain.sales.appointments.models import AppointmentStatus

TEST_TYPE = "webhook.test"
"""Type of the test event. It is sent only on request, whatever the endpoint's event types are."""


class WebhookEventType(StrEnum):
    """The types of events that can be sent to a webhook endpoint.

    ``campaign.counters`` and ``conversation.presence`` are left out, because only the screens of a
    client need them. Read the statistics of a campaign instead.
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
    TASK_CHANGED = EventType.TASK_CHANGED.value
    CONVERSATION_CHANGED = EventType.CONVERSATION_CHANGED.value
    APPOINTMENT_CHANGED = EventType.APPOINTMENT_CHANGED.value


CampaignId = Annotated[
    Id | None,
    Field(description="The id of the campaign to which the message belongs; null if none."),
]


class MessageFacts(ReadModel):
    """A message and its status."""

    message_id: Id
    status: Annotated[str, Vocabulary(MessageStatus)] = Field(
        description="The status of the message: received, queued, sent, delivered, failed, "
        "undelivered or unknown."
    )
    error_code: str | None = Field(
        default=None, description="The provider's error code; null if the message did not fail."
    )
    contact_id: Id | None = None
    conversation_id: Id | None = None
    line_id: Id | None = None
    campaign_id: CampaignId = None


class EventContact(ReadModel):
    """The contact of a message.

    Attributes:
        first_name: The first name; null if it is not known.
        last_name: The last name; null if it is not known.
        company: The company; null if it is not known.
    """

    model_config = example(first_name="Ada", last_name="Rossi", company=None)

    id: Id
    first_name: str | None
    last_name: str | None
    company: str | None


class ReceivedMessageFacts(MessageFacts):
    """A received message. Phone number, contact and first words need the scope `messages:read`.

    Attributes:
        contact: The sender's `id`, `first_name`, `last_name` and `company`; null without a contact,
            or if the scope is missing.
        phone: The sender's number in E.164, or another identifier; null after an erasure, or if
            the scope is missing.
        body_preview: The first 160 characters of the message; null if the scope is missing.
    """

    model_config = example(status="received", body_preview=REPLY)

    contact: EventContact | None = None
    phone: str | None = None
    body_preview: str | None = None


class CallFacts(ReadModel):
    """A call and its status.

    Attributes:
        is_over: Whether the call has ended.
    """

    model_config = example(status="completed", is_over=True)

    call_id: Id
    status: str = Field(
        description="The provider's status of the call: ringing, answered, forwarded, missed, "
        "completed or another word."
    )
    is_over: bool
    direction: Annotated[str, Vocabulary(Direction)] | None = Field(
        default=None, description="Whether the call is incoming or outgoing."
    )
    contact_id: Id | None = None
    conversation_id: Id | None = None
    line_id: Id | None = None


class CampaignFacts(ReadModel):
    """A change of a campaign's status.

    Attributes:
        status: The status after the change.
        was: The status before the change.
        paused_reason: Why the service paused the campaign automatically; null if it did not.
        blocked_reason: Why the campaign is blocked, and what to do; null if it is not blocked.
    """

    model_config = example(status="running", was="scheduled")

    campaign_id: Id
    status: Annotated[str, Vocabulary(CampaignStatus)]
    was: Annotated[str, Vocabulary(CampaignStatus)]
    paused_reason: Annotated[str, Vocabulary(PauseReason, "CampaignPausedReason")] | None = None
    blocked_reason: str | None = None


class ImportFacts(ReadModel):
    """Progress of an import or of its undo.

    Attributes:
        rows_total: The number of rows in the file; null until they are counted.
        rows_processed: The number of rows read so far.
        dry_run: True if the file is only checked and no contact is changed.
        created: The number of created contacts.
        updated: The number of changed contacts.
        unchanged: The number of existing contacts that did not change.
        duplicates_in_file: The number of rows whose phone number is in an earlier row.
        invalid: The number of rows that could not be imported.
    """

    model_config = example(
        status="completed",
        rows_total=240,
        rows_processed=240,
        created=180,
        updated=31,
        unchanged=27,
        duplicates_in_file=1,
        invalid=1,
    )

    import_id: Id
    status: Annotated[str, Vocabulary(ImportStatus)] = Field(
        description="The status of the import: pending, running, completed, failed or cancelled."
    )
    dry_run: bool | None = None
    rows_total: int | None = None
    rows_processed: int | None = None
    created: int | None = None
    updated: int | None = None
    unchanged: int | None = None
    duplicates_in_file: int | None = None
    invalid: int | None = None
    undo: dict[str, Any] | None = Field(
        default=None, description="The progress of the undo; null if the import is not undone."
    )


class ContactFacts(ReadModel):
    """The contact that the event is about."""

    contact_id: Id


class AlertFacts(ReadModel):
    """An alert that was raised, acknowledged or resolved."""

    model_config = example(kind="line_blocked")

    alert_id: Id
    kind: Annotated[str, Vocabulary(AlertKind)]
    status: Annotated[str, Vocabulary(AlertStatus)] = Field(
        description="The status of the alert: open, acknowledged or resolved."
    )


class TaskFacts(ReadModel):
    """A task that was created, changed or deleted.

    Attributes:
        is_done: Whether the task is done.
        is_deleted: Whether the task was deleted.
    """

    task_id: Id
    contact_id: Id | None = None
    conversation_id: Id | None = None
    assignee_id: Id | None = None
    is_done: bool
    is_deleted: bool


class ConversationFacts(ReadModel):
    """A conversation after a change of its state, assignee, snooze or contact.

    Attributes:
        state: The state of the conversation.
        waiting_since: Since when the person waits for an answer; null if not waiting.
        assignee_id: The responsible user; null if none.
        snoozed_until: When the snooze ends; null if not snoozed.
    """

    model_config = example(state="waiting", waiting_since=NOW, assignee_id=None, snoozed_until=None)

    conversation_id: Id
    line_id: Id | None = None
    contact_id: Id | None = None
    state: Annotated[str, Vocabulary(ConversationState)]
    waiting_since: Instant | None = None
    assignee_id: Id | None = None
    snoozed_until: Instant | None = None


class AppointmentFacts(ReadModel):
    """An appointment that was booked or changed.

    Attributes:
        status: The state of the appointment: `booked`, `held` (it took place), `cancelled` or
            `no_show`.
        starts_at: When the appointment begins.
        ends_at: When the appointment ends.
    """

    appointment_id: Id
    contact_id: Id | None = None
    property_id: Id | None = None
    assignee_id: Id | None = None
    status: Annotated[str, Vocabulary(AppointmentStatus)]
    starts_at: Instant
    ends_at: Instant


class WebhookTestFacts(ReadModel):
    """The webhook endpoint that is tested."""

    __test__ = False  # pytest must not collect this class as a test

    endpoint_id: Id


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
"""Maps each event type to the scope that allows a caller to get events of this type. The scope
``campaigns:read`` also allows all events that belong to a campaign, whatever their type is."""
