"""Events of the sandbox, each in two formats: legacy (v4), and that of API version 2026-03-30."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from crm_api.dev.sandbox.message_store import StoredMessage
from crm_api.dev.sandbox.wire_format import ORGANISATION, stamp

Payload = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SandboxEvent:
    """An event of the sandbox, in both formats of the provider.

    Attributes:
        phone_number_id: The provider's id of the phone line.
        dated: The event in the format of API version 2026-03-30.
        legacy: The event in the older format (v4); None if that format has no event of this type.
    """

    type: str
    phone_number_id: str
    dated: Payload
    legacy: Payload | None


def message_event(kind: str, stored: StoredMessage, *, at: datetime) -> SandboxEvent:
    """Return an event about a message.

    Args:
        kind: The event type: ``message.received``, ``message.delivered``, ``message.failed`` or
            ``message.undelivered``.
        stored: The message.
        at: When the event happens.
    """
    event_id = "EV" + uuid4().hex
    link = deep_link(stored.phone_number_id, stored.conversation_id, stored.id)
    resource: Payload = {
        "id": stored.id,
        "direction": stored.direction,
        "text": stored.text,
        "media": stored.media,
        "status": stored.status,
        "createdAt": stamp(stored.created_at),
    }
    if kind == "message.failed":
        del resource["media"]
    if kind in {"message.failed", "message.undelivered"}:
        resource["errorCode"] = stored.error_code
    context = {
        "orgId": ORGANISATION,
        "phoneNumberId": stored.phone_number_id,
        "conversationId": stored.conversation_id,
        "userId": stored.user_id,
        "contacts": {"ids": [], "lookupStatus": "none"},
        "senderIdentifier": stored.sender,
        "recipientIdentifiers": stored.to,
    }
    legacy: Payload = {
        "id": stored.id,
        "object": "message",
        "from": stored.sender,
        "to": ",".join(stored.to),
        "direction": stored.direction,
        "text": stored.text,
        "media": stored.media,
        "status": stored.status,
        "createdAt": stamp(stored.created_at),
        "userId": stored.user_id,
        "phoneNumberId": stored.phone_number_id,
        "contactIds": [],
    }
    has_legacy = kind in {"message.received", "message.delivered"}
    return SandboxEvent(
        type=kind,
        phone_number_id=stored.phone_number_id,
        dated=dated_envelope(event_id, kind, at, resource=resource, context=context, link=link),
        legacy=legacy_envelope(event_id, kind, at, content=legacy, link=link)
        if has_legacy
        else None,
    )


def deep_link(phone_number_id: str, conversation: str, activity: str) -> str:
    """Return the link to a message or call in the provider's inbox, for use in an event."""
    return f"https://my.quo.com/inbox/{phone_number_id}/c/{conversation}?at={activity}"


def dated_envelope(
    event_id: str, kind: str, at: datetime, *, resource: Payload, context: Payload, link: str
) -> Payload:
    """Return an event in the format of the provider's API version 2026-03-30.

    ``resource`` is the message or call of the event.
    """
    return {
        "id": event_id,
        "apiVersion": "2026-03-30",
        "createdAt": stamp(at),
        "type": kind,
        "data": {"resource": resource, "context": context, "links": {"quo": link}},
    }


def legacy_envelope(
    event_id: str, kind: str, at: datetime, *, content: Payload, link: str
) -> Payload:
    """Return an event in the legacy format (v4). ``content`` is the event's message or call."""
    return {
        "id": event_id,
        "object": "event",
        "apiVersion": "v4",
        "createdAt": stamp(at),
        "type": kind,
        "data": {"object": content, "deepLink": link},
    }
