"""What the provider told us, in our own words, whichever of its shapes it came in."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class EventKind(StrEnum):
    """What an event is about, and so which of its payloads is there."""

    MESSAGE = "message"
    CALL = "call"
    CALL_SUMMARY = "call_summary"
    CALL_TRANSCRIPT = "call_transcript"
    CALL_VOICEMAIL = "call_voicemail"
    CONTACT = "contact"
    TASK = "task"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class MediaItem:
    """A picture or file of a message, at the provider's address."""

    url: str
    type: str | None


@dataclass(frozen=True, kw_only=True)
class MessageFacts:
    """One text, from an event or from a list.

    Attributes:
        direction: ``incoming`` or ``outgoing``.
        status: As the provider says, lower case; new words are possible.
        from_number: E.164, or another identifier of a sender; None only for outgoing ones.
        to_numbers: Several for a group; may be empty in an event.
        created_at: By the provider's clock.
    """

    provider_message_id: str
    direction: str
    text: str
    status: str
    from_number: str | None
    to_numbers: tuple[str, ...]
    phone_number_id: str | None
    conversation_id: str | None
    user_id: str | None
    media: tuple[MediaItem, ...]
    error_code: str | None
    created_at: datetime
    updated_at: datetime | None
    contact_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """A recording of a call, at the provider's address."""

    id: str | None
    url: str
    type: str | None
    duration_seconds: float | None
    started_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class VoicemailFacts:
    """What a caller left."""

    id: str | None
    url: str | None
    type: str | None
    duration_seconds: float | None
    transcript: str | None


@dataclass(frozen=True, kw_only=True)
class DialogueLine:
    """One thing said; times in seconds from the start of the call."""

    content: str
    start: float | None
    end: float | None
    identifier: str | None
    user_id: str | None


@dataclass(frozen=True, kw_only=True)
class CallFacts:
    """What one event tells of a call: None or empty means that it did not say.

    Attributes:
        provider_call_id: The call's, also in events of its voicemail, summary or transcript.
        external: The outside parties; known to be empty at times.
        own: Own numbers.
        created_at: When the call began; None in a summary.
        is_missed: Incoming and not answered by anybody.
    """

    provider_call_id: str
    direction: str | None = None
    status: str | None = None
    external: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    phone_number_id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    answered_at: datetime | None = None
    completed_at: datetime | None = None
    duration_seconds: float | None = None
    forwarded_from: str | None = None
    forwarded_to: str | None = None
    answered_by: str | None = None
    is_missed: bool = False
    menu_selection: str | None = None
    menu_selection_name: str | None = None
    recordings: tuple[RecordingFacts, ...] = ()
    has_voicemail: bool | None = None
    voicemail: VoicemailFacts | None = None
    processing_status: str | None = None
    summary: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    dialogue: tuple[DialogueLine, ...] = ()
    contact_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ContactFacts:
    """A contact as the provider keeps it."""

    provider_contact_id: str
    first_name: str | None
    last_name: str | None
    company: str | None
    phone_numbers: tuple[str, ...]
    emails: tuple[str, ...]
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ConversationFacts:
    """A thread between a line and the same people.

    Attributes:
        participants: The outside parties; several in a group.
    """

    conversation_id: str | None
    phone_number_id: str
    participants: tuple[str, ...]
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """A task as the provider keeps it."""

    provider_task_id: str
    title: str | None
    conversation_id: str | None


@dataclass(frozen=True, kw_only=True)
class ProviderEvent:
    """One webhook event; exactly one payload is there, and none when the kind is unknown.

    Attributes:
        event_id: ``EV…``; the same for every hook that is told.
        type: The provider's name, old names replaced by the present ones.
        created_at: When it happened; None when the event does not say.
    """

    event_id: str | None
    type: str
    api_version: str | None
    created_at: datetime | None
    kind: EventKind
    message: MessageFacts | None = None
    call: CallFacts | None = None
    contact: ContactFacts | None = None
    task: TaskFacts | None = None


@dataclass(frozen=True, kw_only=True)
class OwnNumber:
    """A line of the provider's workspace.

    Attributes:
        may_text_us: False when the provider restricts texts to the US: not registered.
    """

    phone_number_id: str
    number: str
    name: str | None
    user_ids: tuple[str, ...]
    may_text_us: bool | None


@dataclass(frozen=True, kw_only=True)
class RegisteredWebhook:
    """A webhook made through the API; those made in the app are not listed.

    Attributes:
        key: Legacy ones always show it, those of 2026-03-30 only when they are made.
        resource_ids: ``PN…`` ids, ``*``, or none: both are all lines.
    """

    webhook_id: str
    url: str
    status: str | None
    events: tuple[str, ...]
    label: str | None
    key: str | None = field(repr=False)
    resource_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """One try of the provider to deliver an event.

    Attributes:
        response_status: What we answered; None when no answer reached it.
    """

    at: datetime | None
    status: str | None
    response_status: int | None
    url: str | None


@dataclass(frozen=True, kw_only=True)
class HookDelivery:
    """An entry of the provider's log of deliveries.

    Attributes:
        delivery_id: The same as the header ``webhook-id``.
        event_id: ``EV…``; None for samples, and for what was sent before 2026-09-02.
        attempts: The last one first; empty in a list.
    """

    delivery_id: str
    event_id: str | None
    resource_id: str | None
    event_type: str | None
    status: str | None
    created_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProviderProblem:
    """An error answer of either shape.

    Attributes:
        code: The provider's, such as ``0206400``; None when it gave none.
        detail: Short, with anything that looks like a phone number taken out.
    """

    status: int
    code: str | None
    detail: str
