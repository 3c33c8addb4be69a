"""Types for the provider's data; they are the same for every version of the provider's JSON."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class EventKind(StrEnum):
    """What an event is about. The kind decides which field of ``ProviderEvent`` has the data."""

    MESSAGE = "message"
    CALL = "call"
    CALL_SUMMARY = "call_summary"
    CALL_TRANSCRIPT = "call_transcript"
    CALL_VOICEMAIL = "call_voicemail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class MediaItem:
    """A picture or file of a message, stored at the provider's URL."""

    url: str
    type: str | None


@dataclass(frozen=True, kw_only=True)
class MessageFacts:
    """One message, from an event or from a list.

    Attributes:
        direction: ``incoming`` or ``outgoing``.
        status: The provider's word for the status, in lower case. This service may not know the
            word.
        from_number: The sender's number in E.164, or another identifier. It can be None only if
            the message is outgoing.
        to_numbers: Identifiers of the recipients. A message to a group has several. In an event,
            the tuple can be empty.
        created_at: When the message was created, by the provider's clock. If this time is later
            than the receipt of the message, ``bound_message`` replaces it by the time of the
            receipt.
        claimed_at: The time of creation as the provider sent it. It is None until
            ``bound_message`` sets it.
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
    claimed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """A recording of a call, stored at the provider's URL."""

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
    """One utterance of a transcript; ``start`` and ``end`` are seconds from the call's start."""

    content: str
    start: float | None
    end: float | None
    identifier: str | None
    user_id: str | None


@dataclass(frozen=True, kw_only=True)
class CallFacts:
    """Facts about a call from one event; None or empty means that the event has no such value.

    Attributes:
        provider_call_id: The id of the call, even if the event is about the voicemail, the summary
            or the transcript of the call.
        external: Phone numbers of the outside parties; sometimes empty.
        own: Our own phone numbers in the call.
        created_at: When the call began; None in an event about a voicemail, summary or transcript.
        is_missed: True if the call was incoming and not answered.
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


@dataclass(frozen=True, kw_only=True)
class ConversationFacts:
    """A conversation between a line and one person or one fixed group of people.

    Attributes:
        participants: Phone numbers of the outside parties; several in a group.
    """

    conversation_id: str | None
    phone_number_id: str
    participants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProviderEvent:
    """One webhook event.

    If the kind is ``UNKNOWN``, both ``message`` and ``call`` are None. If not, exactly one of them
    is set.

    Attributes:
        event_id: The provider's id ``EV…``, the same for every webhook that gets the event.
        type: The provider's current name of the event type.
        created_at: When the event happened; None if the provider does not say.
    """

    event_id: str | None
    type: str
    created_at: datetime | None
    kind: EventKind
    message: MessageFacts | None = None
    call: CallFacts | None = None


@dataclass(frozen=True, kw_only=True)
class OwnNumber:
    """A line of the provider's workspace."""

    phone_number_id: str
    number: str
    name: str | None


@dataclass(frozen=True, kw_only=True)
class RegisteredWebhook:
    """A webhook that was created through the provider's API.

    The API does not list the webhooks that users created in the provider's app.

    Attributes:
        key: The signing key; None if the response does not show the key. API version 2026-03-30
            shows the key only when the webhook is created.
        resource_ids: Ids (``PN…``) of the lines whose events are delivered; ``*`` or an empty
            tuple means all lines.
    """

    webhook_id: str
    url: str
    status: str | None
    events: tuple[str, ...]
    key: str | None = field(repr=False)
    resource_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HookDelivery:
    """One delivery in the provider's log of a webhook.

    Attributes:
        delivery_id: The value of the header ``webhook-id``.
        event_id: The id ``EV…``; None for sample events, and for deliveries before 2026-09-02.
        response_statuses: The HTTP status of our response to each try, newest first. A status is
            None if the provider received no response. The tuple is empty if the delivery was read
            from a list.
    """

    delivery_id: str
    event_id: str | None
    created_at: datetime | None
    response_statuses: tuple[int | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProviderProblem:
    """An error response of the provider.

    Attributes:
        code: The provider's error code, such as ``0206400``; None if the response has no code.
        detail: A short reason; everything that looks like a phone number is replaced.
    """

    code: str | None
    detail: str


# The provider's clock may be ahead of ours. A message that is dated in the future would then
# override every consent decision that is made until that date. So `bound_event` and `bound_message`
# limit the times of webhook events and listed items before these are applied. They limit the times
# that decide something: when a message was created or changed, when a call began, when an event
# happened. Other times (when a call was answered or ended, when its recording began) are only
# shown, so they keep the provider's values.


def bound_event(event: ProviderEvent, *, received_at: datetime) -> ProviderEvent:
    """Return the event, with times after ``received_at`` replaced by ``received_at``.

    Only these times are replaced: when a message was created or changed, when a call began, and
    when the event happened.

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
    """Return the message; a time after ``received_at`` is replaced by ``received_at``.

    Only ``claimed_at`` is not replaced. It is the time of creation as the provider sent it.
    """
    return replace(
        facts,
        claimed_at=facts.claimed_at or facts.created_at,
        created_at=min(facts.created_at, received_at),
        updated_at=_earlier(facts.updated_at, received_at),
    )


def _earlier(claimed: datetime | None, received_at: datetime) -> datetime | None:
    return None if claimed is None else min(claimed, received_at)
