"""Parse the provider's JSON tolerantly: unknown fields and unknown values are not errors.

A message in a webhook of 2026-03-30 looks like this; older versions have other field names::

    {"id": "EV…", "apiVersion": "2026-03-30", "createdAt": "…", "type": "message.delivered",
     "data": {"resource": {"id": "AC…", "direction": "outgoing", "text": "…", "media": [],
                           "status": "delivered", "createdAt": "…"},
              "context": {"phoneNumberId": "PN…", "conversationId": "CN…", "userId": "US…",
                          "contacts": {"ids": [], "lookupStatus": "none"},
                          "senderIdentifier": "+16175550100",
                          "recipientIdentifiers": ["+16175550123"]},
              "links": {"quo": "https://…"}}}

Source: OpenPhone API description 1.0.0, and Quo, "Webhooks", both read 2026-11-24.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_api.domain.provider.openphone.call_wire import EventContext, parse_call
from crm_api.domain.provider.openphone.errors import UnreadableEventError
from crm_api.domain.provider.openphone.facts import (
    ConversationFacts,
    EventKind,
    MediaItem,
    MessageFacts,
    OwnNumber,
    ProviderEvent,
    ProviderProblem,
    RegisteredWebhook,
)
from crm_api.domain.provider.openphone.json_values import (
    Json,
    first_text,
    identifiers,
    identity,
    instant,
    items,
    mapping,
    text,
    texts,
    without_numbers,
)

CURRENT_TYPES = {
    "callSummary": "call.summary.completed",
    "callTranscript": "call.transcript.completed",
}
"""Maps type names in the provider's guide to the names in real events.

Source: OpenPhone, "Webhooks", read 2026-11-24.
"""
_KINDS = (
    ("message.", EventKind.MESSAGE),
    ("call.summary.", EventKind.CALL_SUMMARY),
    ("call.transcript.", EventKind.CALL_TRANSCRIPT),
    ("call.voicemail.", EventKind.CALL_VOICEMAIL),
    ("call.", EventKind.CALL),
)


def parse_event(payload: object) -> ProviderEvent:
    """Parse a webhook event of the legacy system or of the 2026-03-30 system.

    All versions of the provider's JSON are accepted.

    Raises:
        UnreadableEventError: The payload is not an event, or lacks a required value; the detail
            names that value.
    """
    event = mapping(payload)
    if "type" not in event and isinstance(event.get("object"), dict):
        event = mapping(event["object"])
    named = text(event.get("type"))
    if named is None:
        raise UnreadableEventError
    event_type = CURRENT_TYPES.get(named, named)
    kind = kind_of(event_type)
    created_at = instant(event.get("createdAt"))
    return ProviderEvent(
        event_id=identity(event.get("id")),
        type=event_type,
        created_at=created_at,
        kind=kind,
        **_payload(kind, event_type, mapping(event.get("data")), created_at),
    )


def kind_of(event_type: str) -> EventKind:
    """Return the kind of an event; ``EventKind.UNKNOWN`` if this service reads no such events.

    For example, the types ``message.received`` and ``message.delivered`` have the kind ``MESSAGE``.

    Args:
        event_type: The current name of the event's type. ``CURRENT_TYPES`` maps old names to the
            current names.
    """
    for prefix, kind in _KINDS:
        if event_type.startswith(prefix):
            return kind
    return EventKind.UNKNOWN


def _payload(
    kind: EventKind, event_type: str, data: Json, created_at: datetime | None
) -> dict[str, Any]:
    if kind is EventKind.UNKNOWN:
        return {}
    content = mapping(data.get("resource") or data.get("object"))
    if not content:
        raise UnreadableEventError("The event has neither `data.resource` nor `data.object`.")
    if kind is EventKind.MESSAGE:
        defaults = _Defaults(
            direction="incoming" if event_type == "message.received" else "outgoing",
            status=event_type.removeprefix("message."),
            created_at=created_at,
        )
        return {"message": _message(content, data, defaults)}
    return {"call": parse_call(content, data, kind=kind, event_type=event_type)}


def parse_message(item: object) -> MessageFacts:
    """Parse a message from a list, or from the response to a request for one message.

    Raises:
        UnreadableEventError: The message has no id, direction or time, or is incoming and has no
            sender.
    """
    return _message(mapping(item), {}, _Defaults())


@dataclass(frozen=True, kw_only=True)
class _Defaults:
    """Values that are used if the message of an event lacks them.

    They are derived from the type and the time of the event.
    """

    direction: str | None = None
    status: str = "unknown"
    created_at: datetime | None = None


def _message(content: Json, data: Json, defaults: _Defaults) -> MessageFacts:
    message_id = identity(content.get("id"))
    if message_id is None:
        raise UnreadableEventError("The message has no id.")
    direction = first_text(content.get("direction"), defaults.direction)
    if direction not in {"incoming", "outgoing"}:
        raise UnreadableEventError("The message is neither incoming nor outgoing.")
    created_at = instant(content.get("createdAt")) or defaults.created_at
    if created_at is None:
        raise UnreadableEventError("The message has no time of creation.")
    event_context = EventContext(content, data)
    sender = identifiers(content.get("from")) or identifiers(
        event_context.context.get("senderIdentifier")
    )
    if not sender and direction == "incoming":
        raise UnreadableEventError("The incoming message has no sender.")
    status = first_text(content.get("status")) or defaults.status
    return MessageFacts(
        provider_message_id=message_id,
        direction=direction,
        text=first_text(content.get("text"), content.get("body"), content.get("content")) or "",
        status=status.lower(),
        from_number=sender[0] if sender else None,
        to_numbers=identifiers(content.get("to"))
        or identifiers(event_context.context.get("recipientIdentifiers")),
        phone_number_id=event_context.phone_number_id,
        conversation_id=event_context.conversation_id,
        user_id=event_context.user_id,
        media=_media(content.get("media")),
        error_code=identity(content.get("errorCode")),
        created_at=created_at,
        # If the message does not contain the time of its last change, the time of the event is
        # used.
        updated_at=instant(content.get("updatedAt")) or defaults.created_at,
    )


def _media(listed: object) -> tuple[MediaItem, ...]:
    found = []
    for item in items(listed):
        url = text(item) if isinstance(item, str) else text(mapping(item).get("url"))
        if url is not None:
            found.append(MediaItem(url=url, type=text(mapping(item).get("type"))))
    return tuple(found)


def parse_phone_number(item: object) -> OwnNumber:
    """Convert the JSON object of a phone line of the workspace to an ``OwnNumber``.

    Raises:
        UnreadableEventError: The phone line has no id or no number.
    """
    line = mapping(item)
    line_id, number = identity(line.get("id")), identifiers(line.get("number"))
    if line_id is None or not number:
        raise UnreadableEventError("The line has no id or no phone number.")
    return OwnNumber(
        phone_number_id=line_id,
        number=number[0],
        name=text(line.get("name")),
    )


def parse_conversation(item: object) -> ConversationFacts:
    """Parse a conversation.

    Raises:
        UnreadableEventError: The conversation has no line or no outside participant.
    """
    conversation = mapping(item)
    line_id = identity(conversation.get("phoneNumberId"))
    participants = identifiers(conversation.get("participants"))
    if line_id is None or not participants:
        raise UnreadableEventError("The conversation has no line or no participants.")
    return ConversationFacts(
        conversation_id=identity(conversation.get("id")),
        phone_number_id=line_id,
        participants=participants,
    )


def parse_webhook(item: object) -> RegisteredWebhook:
    """Parse a registered webhook.

    Raises:
        UnreadableEventError: The webhook has no id or no URL.
    """
    hook = mapping(item)
    hook_id, url = identity(hook.get("id")), text(hook.get("url"))
    if hook_id is None or url is None:
        raise UnreadableEventError("The webhook has no id or no URL.")
    return RegisteredWebhook(
        webhook_id=hook_id,
        url=url,
        status=text(hook.get("status")),
        events=texts(hook.get("events")),
        resource_ids=texts(hook.get("resourceIds")),
        key=text(hook.get("key")),
    )


def parse_problem(status: int, body: object) -> ProviderProblem:
    """Parse an error response: ``{"message": …, "code": …}``, possibly inside ``{"error": …}``."""
    answer = mapping(body)
    problem = mapping(answer.get("error")) or answer
    message = first_text(problem.get("message"), problem.get("title"), problem.get("key"))
    code = problem.get("code")
    return ProviderProblem(
        code=identity(code) if isinstance(code, str) else None,
        detail=without_numbers(message or f"HTTP {status}"),
    )
