"""Convert the bytes of a webhook delivery into the row to store; the event's data is not read.

Only the outermost fields are read: ``{"id": "EV…", "type": "message.received", …}``, or the same
fields inside one wrapper: ``{"object": {"id": "EV…", "type": …}}``.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from uuid import UUID

import orjson

from crm_api.domain.kit.errors import (
    Example,
    MalformedError,
    TooLargeError,
)
from crm_api.domain.provider.openphone.wire import CURRENT_TYPES
from crm_api.platform.ids import new_id

UNKNOWN_TYPE = "unknown"
LONGEST_ID = 200
"""Maximum characters of an id, because an index entry has room for about 2,700 bytes. A longer id
is not from the provider and is replaced by its hash."""
LONGEST_TYPE = 100


class EventTooLargeError(TooLargeError):
    """The delivery is larger than the maximum size of an event."""

    code = "event_too_large"
    title = "Webhook delivery too large"
    example = Example("The body has more than 1048576 bytes. Send one event per request.")


class MalformedEventError(MalformedError):
    """The body of a signed delivery is not a JSON object."""

    code = "malformed_json"
    title = "Malformed JSON"
    detail = "The body is not a JSON object. Send one event as an object."


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One webhook delivery with a valid signature, ready to be stored.

    Attributes:
        payload: The JSON text to store. Usually it is the received text. If PostgreSQL cannot
            store the received text, the payload is a changed copy.
    """

    id: UUID
    provider_event_id: str
    delivery_id: str | None
    scheme: str
    type: str
    payload: str


def read_event(body: bytes, *, scheme: str, delivery_id: str | None) -> ReceivedEvent:
    """Read the envelope (the outermost fields) of a delivery.

    The time of receipt is not set here: the database sets it later.

    Raises:
        MalformedEventError: The body is not a JSON object.
    """
    document, payload = _read_object(body)
    envelope = document
    if "type" not in document and isinstance(document.get("object"), dict):
        envelope = document["object"]
    kind, event_id = envelope.get("type"), envelope.get("id")
    return ReceivedEvent(
        id=new_id(),
        provider_event_id=_first_usable(event_id, delivery_id) or _digest(body),
        delivery_id=_first_usable(delivery_id),
        scheme=scheme,
        type=_storable_text(CURRENT_TYPES.get(kind, kind))[:LONGEST_TYPE]
        if isinstance(kind, str) and kind
        else UNKNOWN_TYPE,
        payload=payload,
    )


def as_text(event: ReceivedEvent) -> ReceivedEvent:
    """Return the event with the new payload ``{"raw": "…"}``, where ``raw`` is the old payload.

    This is used for JSON that PostgreSQL refuses, for example a number with a million digits. As a
    string, the old payload can be stored. Every attempt to apply the changed event fails, but a
    user can examine the event.
    """
    return replace(event, payload=_raw(event.payload))


def _raw(text: str) -> str:
    return json.dumps({"raw": _storable_text(text)}, ensure_ascii=False)


def _read_object(body: bytes) -> tuple[dict[str, Any], str]:
    try:
        document = orjson.loads(body)
        # The PostgreSQL type ``jsonb`` cannot store the character NUL, although an escaped NUL is
        # valid JSON.
        payload = _storable_json(document) if b"\\u0000" in body else body.decode()
    except (orjson.JSONDecodeError, RecursionError):
        document, payload = _read_unusual(body)
    if not isinstance(document, dict):
        raise MalformedEventError
    return document, payload


def _read_unusual(body: bytes) -> tuple[Any, str]:
    """Parse JSON that the fast parser refuses; return its value and the text to store.

    Such JSON has, for example, half a surrogate pair or a byte order mark.

    Raises:
        MalformedEventError: The body is not valid JSON.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        detail = "The body is not valid JSON. Send one event as a JSON object."
        raise MalformedEventError(detail) from error
    try:
        return document, _storable_json(document)
    except (ValueError, RecursionError):  # a number too large for a float, or too deep nesting
        return document, _raw(body.decode(errors="replace"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _storable_json(document: object) -> str:
    return json.dumps(_storable(document), ensure_ascii=False, allow_nan=False)


def _storable(value: object) -> object:
    """Return a copy in which U+FFFD replaces each character that ``jsonb`` cannot store."""
    if isinstance(value, str):
        return _storable_text(value)
    if isinstance(value, dict):
        return {_storable_text(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _storable_text(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    # Encoding as UTF-16 joins the two halves of each surrogate pair. A half without its other half
    # is replaced, and NUL is replaced too.
    return (
        text.encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )


def _first_usable(*candidates: object) -> str | None:
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.strip():
            if len(candidate) > LONGEST_ID:
                return _digest(candidate.encode(errors="replace"))
            return _storable_text(candidate)
    return None


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
