"""Read requests and write responses in the provider's formats."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from crm_api.dev.sandbox.config import OwnLine
from crm_api.dev.sandbox.message_store import Conversation, StoredMessage, conversation_id

ORGANISATION = "ORsandbox"
OWNER = "USsandbox1"
COLLEAGUE = "USsandbox2"
"""Id of the user who sends messages in the app of the provider, not through the API."""
GROUP = "GRsandbox"
DOCS = "https://openphone.com/docs"
_SINCE = "2026-01-05T14:00:00.000Z"
DATED_PAGE = 50
"""Largest page size of the provider's API version 2026-03-30."""
_DESCRIPTIONS = {
    "0200402": "The organization does not have enough prepaid credits to send the message",
}


class BadRequestError(Exception):
    """A parameter is missing or wrong; the response has status 400.

    The response has the format of the API to which the request was sent.
    """


async def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object in the request body; empty if there is no body.

    Raises:
        BadRequestError: The body is not a JSON object.
    """
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the request body must be JSON") from error
    if not isinstance(body, dict):
        raise BadRequestError("the request body must be a JSON object")
    return body


def read_limit(text: str | None, most: int) -> int:
    """Return the page size from a query parameter.

    Args:
        text: The value of the parameter; None if the parameter is missing.
        most: The largest page size.

    Raises:
        BadRequestError: The parameter is missing or not a number from 1 to ``most``.
    """
    if text is None or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadRequestError(f"the page size must be a number from 1 to {most}")
    return int(text)


def read_instant(query: QueryParams, name: str) -> datetime | None:
    """Return the time in a query parameter; None if the parameter is missing.

    Raises:
        BadRequestError: The parameter is not an ISO 8601 time with a time zone.
    """
    text = query.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(f"{name} must be an ISO 8601 time") from error
    if instant.tzinfo is None:
        raise BadRequestError(
            f"{name} must have a time zone, such as the Z in 2026-11-26T14:03:00Z"
        )
    return instant


def write_token(seq: int) -> str:
    """Return the token of the page that begins after the item at position ``seq``."""
    return urlsafe_b64encode(b"seq:%d" % seq).decode()


def read_token(token: str | None) -> int | None:
    """Return the position in a page token; None if there is no token, as for the first page.

    Raises:
        BadRequestError: The token is not from this sandbox.
    """
    if token is None:
        return None
    try:
        return int(urlsafe_b64decode(token).removeprefix(b"seq:"))
    except (Base64Error, ValueError) as error:
        raise BadRequestError(
            "the page token is not from this list; leave it out to get the first page"
        ) from error


def json_answer(body: dict[str, Any], status: int = 200) -> Response:
    """Return a response with the object as JSON."""
    return raw_json_answer(orjson.dumps(body), status)


def raw_json_answer(body: bytes, status: int) -> Response:
    """Return a response with a body that is already JSON."""
    return Response(body, status, media_type="application/json")


def not_found(code: str) -> Response:
    """Return a 404 response. ``code`` is the provider's error code in the body."""
    return raw_json_answer(problem(404, code, "Not Found", "Not found"), 404)


def read_recipients(request: Request) -> tuple[str, ...]:
    """Return the phone numbers in the parameters ``to`` and ``to[all]``, which filter a list."""
    query = request.query_params
    together = query.get("to[all]", "")
    return (*query.getlist("to"), *(part for part in together.split(",") if part))


def stamp(at: datetime) -> str:
    """Return a time in the provider's format: ISO 8601 in UTC with milliseconds and ``Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_form(stored: StoredMessage) -> dict[str, Any]:
    """Return a message in the format of the provider's API."""
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


def conversation_form(found: Conversation) -> dict[str, Any]:
    """Return a conversation in the format of the provider's API."""
    return {
        "id": conversation_id(found.phone_number_id, found.participants),
        "name": None,
        "participants": found.participants,
        "phoneNumberId": found.phone_number_id,
        "assignedTo": None,
        "lastActivityAt": stamp(found.last_at),
        "lastActivityId": found.last_id,
        "mutedUntil": None,
        "snoozedUntil": None,
        "createdAt": stamp(found.began_at),
        "updatedAt": stamp(found.last_at),
        "deletedAt": None,
    }


def phone_number_form(line: OwnLine) -> dict[str, Any]:
    """Return a phone line in the format of the provider's API."""
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
    """Return an error body in the format of the provider's v1 API."""
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
    """Return an error body in the format of the provider's gateway, which checks API keys."""
    return orjson.dumps({"error": {"message": message, "key": key, "trace": "sandbox"}})


def dated_problem(title: str, message: str) -> bytes:
    """Return an error body in the format of the provider's API version 2026-03-30."""
    return orjson.dumps({"title": title, "message": message, "docs": DOCS})
