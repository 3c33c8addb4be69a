"""The provider's data as our own types, the same for every version of its JSON."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class EventKind(StrEnum):
    """What an event is about; it decides which payload is set."""

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
    """A picture or file of a message, at the provider's URL."""

    url: str
    type: str | None


@dataclass(frozen=True, kw_only=True)
class MessageFacts:
    """One message, from an event or from a list.

    Attributes:
        direction: ``incoming`` or ``outgoing``.
        status: The provider's word in lower case; unknown words are possible.
        from_number: E.164, or another identifier of a sender; None only for outgoing messages.
        to_numbers: Several for a group; may be empty in an event.
        created_at: By the provider's clock; ``bound_event`` limits it to the receipt.
        claimed_at: The provider's own value of ``created_at``; None until it was limited.
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
    claimed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """A recording of a call, at the provider's URL."""

    id: str | None
    url: str
    type: str | None
    duration_seconds: float | None
    started_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class VoicemailFacts:
    """A voicemail that a caller left."""

    id: str | None
    url: str | None
    type: str | None
    duration_seconds: float | None
    transcript: str | None


@dataclass(frozen=True, kw_only=True)
class DialogueLine:
    """One utterance of a transcript; times are seconds from the start of the call."""

    content: str
    start: float | None
    end: float | None
    identifier: str | None
    user_id: str | None


@dataclass(frozen=True, kw_only=True)
class CallFacts:
    """What one event reports about a call; None or empty means that it did not say.

    Attributes:
        provider_call_id: The id of the call, also in events of its voicemail, summary or
            transcript.
        external: The outside parties; sometimes empty.
        own: Own numbers.
        created_at: When the call began; None in a summary.
        is_missed: The call was incoming and not answered.
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
    """A contact as the provider stores it."""

    provider_contact_id: str
    first_name: str | None
    last_name: str | None
    company: str | None
    phone_numbers: tuple[str, ...]
    emails: tuple[str, ...]
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ConversationFacts:
    """A conversation between a line and the same people.

    Attributes:
        participants: The outside parties; several in a group.
    """

    conversation_id: str | None
    phone_number_id: str
    participants: tuple[str, ...]
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """A task as the provider stores it."""

    provider_task_id: str
    title: str | None
    conversation_id: str | None


@dataclass(frozen=True, kw_only=True)
class ProviderEvent:
    """One webhook event with exactly one payload; none if the kind is unknown.

    Attributes:
        event_id: ``EV…``; the same for every webhook that receives the event.
        type: The provider's name; old names are replaced by the present ones.
        created_at: When it happened; None if the event does not say.
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
        may_text_us: False if the provider does not send the line's messages to the US, because the
            line is not registered; None if it does not say.
    """

    phone_number_id: str
    number: str
    name: str | None
    user_ids: tuple[str, ...]
    may_text_us: bool | None


@dataclass(frozen=True, kw_only=True)
class RegisteredWebhook:
    """A webhook that was created through the API; those created in the app are not listed.

    Attributes:
        key: Always shown for legacy webhooks; for those of 2026-03-30 only at creation.
        resource_ids: ``PN…`` ids; ``*`` or an empty list means all lines.
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
        response_status: The HTTP status of our answer; None if it received none.
    """

    at: datetime | None
    status: str | None
    response_status: int | None
    url: str | None


@dataclass(frozen=True, kw_only=True)
class HookDelivery:
    """An entry of the provider's delivery log.

    Attributes:
        delivery_id: The value of the header ``webhook-id``.
        event_id: ``EV…``; None for samples, and for deliveries before 2026-09-02.
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
    """An error answer of the provider.

    Attributes:
        code: The provider's code, such as ``0206400``; None if it gave none.
        detail: Short, without anything that looks like a phone number.
    """

    status: int
    code: str | None
    detail: str


# The provider's clock may be ahead. A message with a date in the future would then decide about
# consent until that date, against every later decision. So webhook events and listed items pass
# through here before they are applied. Limited are the instants that decide something: when a
# message was created and changed, when a call began, when an event happened. The instants at which
# a call was answered and ended and its recording began are only shown, and stay as the provider
# gave them.


def bound_event(event: ProviderEvent, *, received_at: datetime) -> ProviderEvent:
    """Return the event with its instants limited to its receipt.

    Args:
        received_at: When the event was stored, by the database's clock.
    """
    message, call = event.message, event.call
    return replace(
        event,
        created_at=_earlier(event.created_at, received_at),
        message=None if message is None else bound_message(message, received_at=received_at),
        call=None
        if call is None
        else replace(call, created_at=_earlier(call.created_at, received_at)),
    )


def bound_message(facts: MessageFacts, *, received_at: datetime) -> MessageFacts:
    """Return the message with its instants limited to its receipt.

    ``claimed_at`` keeps the provider's own value of ``created_at``.
    """
    return replace(
        facts,
        claimed_at=facts.claimed_at or facts.created_at,
        created_at=min(facts.created_at, received_at),
        updated_at=_earlier(facts.updated_at, received_at),
    )


def _earlier(claimed: datetime | None, received_at: datetime) -> datetime | None:
    return None if claimed is None else min(claimed, received_at)
