"""The sandbox's answers, in the provider's shapes."""

from datetime import UTC, datetime
from typing import Any

import orjson

from crm_api.sandbox.config import OwnLine
from crm_api.sandbox.store import StoredMessage, Talk, conversation_id

ORGANISATION = "ORsandbox"
OWNER = "USsandbox1"
COLLEAGUE = "USsandbox2"
"""The person who sends from the provider's app."""
GROUP = "GRsandbox"
DOCS = "https://openphone.com/docs"
_SINCE = "2026-01-05T14:00:00.000Z"


def stamp(at: datetime) -> str:
    """Write an instant as the provider does: milliseconds and ``Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(stored: StoredMessage) -> dict[str, Any]:
    """Show a text as REST does."""
    shown: dict[str, Any] = {
        "id": stored.id,
        "to": stored.to,
        "from": stored.sender,
        "text": stored.text,
        "phoneNumberId": stored.phone_number_id,
        "conversationId": stored.conversation_id,
        "direction": stored.direction,
        "userId": stored.user_id,
        "status": stored.status,
        "createdAt": stamp(stored.created_at),
        "updatedAt": stamp(stored.updated_at),
        "media": stored.media,
    }
    return shown


def conversation(talk: Talk) -> dict[str, Any]:
    """Show a conversation as REST does."""
    return {
        "id": conversation_id(talk.phone_number_id, talk.participants),
        "name": None,
        "participants": talk.participants,
        "phoneNumberId": talk.phone_number_id,
        "assignedTo": None,
        "lastActivityAt": stamp(talk.last_at),
        "lastActivityId": talk.last_id,
        "mutedUntil": None,
        "snoozedUntil": None,
        "createdAt": stamp(talk.began_at),
        "updatedAt": stamp(talk.last_at),
        "deletedAt": None,
    }


def phone_number(line: OwnLine) -> dict[str, Any]:
    """Show an own line as REST does."""
    free = {"US": "unrestricted", "CA": "unrestricted", "Intl": "restricted"}
    return {
        "id": line.id,
        "groupId": GROUP,
        "number": line.number,
        "formattedNumber": line.number,
        "name": line.name,
        "symbol": None,
        "forward": None,
        "portRequestId": None,
        "portingStatus": None,
        "users": [_user(OWNER, "Rowan", "owner"), _user(COLLEAGUE, "Kim", "member")],
        "restrictions": {"calling": free, "messaging": free},
        "createdAt": _SINCE,
        "updatedAt": _SINCE,
    }


def _user(user_id: str, name: str, role: str) -> dict[str, Any]:
    return {
        "id": user_id,
        "email": f"{name.lower()}@example.com",
        "firstName": name,
        "lastName": "Sandbox",
        "role": role,
        "groupId": GROUP,
    }


def problem(
    status: int,
    code: str,
    title: str,
    message: str,
    *,
    errors: list[dict[str, Any]] | None = None,
) -> bytes:
    """Write an error as the v1 description has it."""
    body: dict[str, Any] = {
        "message": message,
        "code": code,
        "status": status,
        "docs": DOCS,
        "title": title,
        "description": _DESCRIPTIONS.get(code, title),
    }
    if errors:
        body["errors"] = errors
    return orjson.dumps(body)


def nested_problem(message: str, key: str) -> bytes:
    """Write an error as the live gateway answers a missing key."""
    return orjson.dumps({"error": {"message": message, "key": key, "trace": "sandbox"}})


def dated_problem(title: str, message: str) -> bytes:
    """Write an error of the 2026-03-30 interface."""
    return orjson.dumps({"title": title, "message": message, "docs": DOCS})


_DESCRIPTIONS = {
    "0200402": "The organization does not have enough prepaid credits to send the message",
}
