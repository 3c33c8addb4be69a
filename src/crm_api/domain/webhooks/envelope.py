"""From the bytes of a delivery to the row that keeps it, without reading what happened.

The outermost members are all that is looked at: ``{"id": "EV…", "type": "message.received", …}``,
or the same wrapped once: ``{"object": {"id": "EV…", "type": …}}``.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

import orjson

from crm_api.domain.webhooks.errors import MalformedEventError
from crm_api.ids import new_id

UNKNOWN_TYPE = "unknown"
TYPE_OF_ALIAS = {
    "callSummary": "call.summary.completed",
    "callTranscript": "call.transcript.completed",
}
"""What the vendor's guide prints and what is on the wire (OpenPhone, "Webhooks", 2026-11-24)."""
LONGEST_ID = 200
"""An index entry holds about 2,700 bytes; a longer id is no id of theirs, and is digested."""
LONGEST_TYPE = 100


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One delivery, proved to be the provider's.

    Attributes:
        payload: The JSON text to store; as it came, unless PostgreSQL could not keep it so.
    """

    id: UUID
    provider_event_id: str
    delivery_id: str | None
    scheme: str
    type: str
    received_at: datetime
    payload: str


def read_event(
    body: bytes, *, scheme: str, delivery_id: str | None, now: datetime
) -> ReceivedEvent:
    """Take down a delivery.

    Raises:
        MalformedEventError: The body is no JSON object.
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
        type=_storable_text(TYPE_OF_ALIAS.get(kind, kind))[:LONGEST_TYPE]
        if isinstance(kind, str) and kind
        else UNKNOWN_TYPE,
        received_at=now,
        payload=payload,
    )


def as_text(event: ReceivedEvent) -> ReceivedEvent:
    """Return the event with a payload that PostgreSQL takes whatever it holds: ``{"raw": "…"}``.

    For JSON that it refuses, for example a number of a million digits: the event is kept, fails
    when it is applied, and a person can look at it.
    """
    return replace(event, payload=_raw(event.payload))


def _raw(text: str) -> str:
    return json.dumps({"raw": _storable_text(text)}, ensure_ascii=False)


def _read_object(body: bytes) -> tuple[dict[str, Any], str]:
    try:
        document = orjson.loads(body)
        # ``jsonb`` has no NUL; the escaped one is valid JSON all the same.
        payload = _storable_json(document) if b"\\u0000" in body else body.decode()
    except (orjson.JSONDecodeError, RecursionError):
        document, payload = _read_unusual(body)
    if not isinstance(document, dict):
        raise MalformedEventError("The body is JSON, but no object.")
    return document, payload


def _read_unusual(body: bytes) -> tuple[Any, str]:
    """Read JSON that the fast parser refuses: half a surrogate pair, a byte order mark."""
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError("The body is not valid JSON.") from error
    try:
        return document, _storable_json(document)
    except (ValueError, RecursionError):  # a number beyond all floats, or nested too deep
        return document, _raw(body.decode(errors="replace"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _storable_json(document: object) -> str:
    return json.dumps(_storable(document), ensure_ascii=False, allow_nan=False)


def _storable(value: object) -> object:
    """Copy a document with each character that ``jsonb`` cannot hold replaced by U+FFFD."""
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
    # Two surrogates that make a pair come together; half of one is replaced, as a NUL is.
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
