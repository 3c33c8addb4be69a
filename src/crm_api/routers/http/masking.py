"""Hide from marketers the fields that their role does not show.

A marketer sees no amounts of money, and only some fields of people. The responses of all operations
pass through this module, so a new operation hides the same fields.

``routers.http.deps`` decides which operations a marketer may call.
"""

import csv
import io
import json
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.insight.measures.registry import MEASURES, Unit
from crm_api.routers.http.deps import CALLER, Identified

SHOWN_OF_PERSON = frozenset(
    {"id", "contact_id", "first_name", "city", "address", "tags", "opted_out", "flags"}
    | {"created_at", "updated_at"}
)
"""The fields of a contact that a user with the role marketer may see. In the field ``address``,
only the city is visible."""
HIDDEN = frozenset(
    {"phone", "phones", "last_name", "company", "street", "postal_code", "attributes"}
    | {"contact_name", "participants", "body_preview"}
    | {"amount_cents", "unattributed_cents", "cents", "cost", "sums"}
)
"""Fields that a user with the role marketer does not see in any response."""
ABOUT_PERSON = frozenset({"name", "body", "text", "media", "call", "note", "reason", "detail"})
"""Further fields that a user with the role marketer does not see in an object that has a field
``phone``, and in entries of a timeline."""
_MONEY = frozenset({Unit.CENTS, Unit.RATIO})
_AMOUNTS = ("numerator", "denominator", "value")


def mask(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a copy of a JSON value with null in each field that the role marketer must not see."""
    if isinstance(value, list):
        return [mask(one) for one in value]
    if not isinstance(value, dict):
        return value
    hidden = hidden_of(value)
    masked: dict[str, Any] = {
        name: None if name in hidden else mask(one) for name, one in value.items()
    }
    if "first_name" in value and isinstance(value.get("address"), dict):
        masked["address"] = {
            name: one if name == "city" else None for name, one in value["address"].items()
        }
    if value.get("unit") in _MONEY and "total" in value:
        for figure in (masked["total"], *masked["rows"]):
            figure.update(dict.fromkeys(_AMOUNTS))
    return masked


def hidden_of(names: Collection[str]) -> set[str]:
    """Return the names of the fields or columns that a marketer does not see.

    - With a field ``first_name`` and without a field ``kind``, the object is a contact. All fields
      except ``SHOWN_OF_PERSON`` are hidden.
    - In all other objects, the fields in ``HIDDEN`` are hidden.
    - If an object that is not a contact has a field ``phone``, or the two fields ``type`` and
      ``at``, the fields in ``ABOUT_PERSON`` are hidden too. One exception: if the object has a
      field ``kind``, ``name`` stays visible, because it is not the name of a person.

    Args:
        names: The names of all fields of a JSON object, or of an object in a row of a CSV file.
    """
    if "first_name" in names and "kind" not in names:
        return set(names) - SHOWN_OF_PERSON
    hidden = set(HIDDEN)
    if "phone" in names or ("type" in names and "at" in names):
        hidden |= ABOUT_PERSON - ({"name"} if "kind" in names else set())
    return hidden & set(names)


def hidden_columns(columns: Collection[str]) -> set[str]:
    """Return the columns of a CSV file that a marketer does not see.

    A column such as ``assignee.name`` is the field ``name`` of the object ``assignee``. It is
    hidden if the field or the object is hidden.
    """
    objects: dict[str, set[str]] = {}
    for column in columns:
        for owner, name in _fields_of(column):
            objects.setdefault(owner, set()).add(name)
    hidden = {(owner, name) for owner, names in objects.items() for name in hidden_of(names)}
    return {column for column in columns if not hidden.isdisjoint(_fields_of(column))}


def _fields_of(column: str) -> list[tuple[str, str]]:
    """Return each field in the path of a column, with the path of the object that has the field."""
    names = column.split(".")
    return [(".".join(names[:depth]), name) for depth, name in enumerate(names)]


def _mask_cell(cell: str) -> str:
    """Hide fields in a cell that contains a JSON object or a JSON array."""
    if not cell.startswith(("{", "[")):
        return cell
    try:
        return json.dumps(mask(json.loads(cell)), ensure_ascii=False)
    except ValueError:
        return cell


class MaskingMiddleware:
    """ASGI middleware that hides fields in the responses to marketers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; change the response if the caller is a marketer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, _Answer(scope, send))


class _Answer:
    """Sends a response; if the caller is a marketer, hides fields in it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._change: Callable[[bytes, bool], bytes] | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._change = self._change_for(message)
            if self._change is not None:
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._change is not None:
            is_last = not message.get("more_body", False)
            body = self._change(message.get("body", b""), is_last)
            await self._begin(len(body) if is_last else None)
            message = {**message, "body": body}
        await self._send(message)

    async def _begin(self, length: int | None) -> None:
        """Send the start of the response, if it was not sent yet.

        Args:
            length: The length of the changed body; None if the body has several parts.
        """
        if self._start is None:
            return
        headers = [one for one in self._start["headers"] if one[0].lower() != b"content-length"]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._send({**self._start, "headers": headers})
        self._start = None

    def _change_for(self, start: Message) -> Callable[[bytes, bool], bytes] | None:
        known: Identified | None = self._scope.get(CALLER)
        if known is None or known.caller is None or known.caller.sees_all:
            return None
        kind = Headers(raw=start["headers"]).get("content-type", "").partition(";")[0]
        hides_amount = self._asks_for_money()
        if kind == "application/json":
            return JsonMask(hides_amount=hides_amount)
        if kind == "text/csv":
            return CsvMask(hides_amount=hides_amount)
        return EventMask() if kind == "text/event-stream" else None

    def _asks_for_money(self) -> bool:
        """Return whether the query parameter ``measure`` names a measure of money."""
        asked = parse_qs(self._scope["query_string"].decode("latin-1")).get("measure", [""])
        measure = MEASURES.get(asked[0])
        return measure is not None and measure.unit in _MONEY


class JsonMask:
    """Collects the parts of a JSON body, and hides fields in the complete body."""

    def __init__(self, *, hides_amount: bool) -> None:
        self._parts: list[bytes] = []
        self._hides_amount = hides_amount

    def __call__(self, part: bytes, is_last: bool) -> bytes:  # noqa: FBT001 - a callback
        """Return the masked body for the last part, and no bytes for earlier parts."""
        self._parts.append(part)
        body = b"".join(self._parts)
        if not is_last or not body:
            return b""
        masked = mask(json.loads(body))
        if self._hides_amount and isinstance(masked, dict):
            for row in masked.get("data", ()):
                row["amount"] = None
        return json.dumps(masked, ensure_ascii=False, separators=(",", ":")).encode()


class CsvMask:
    """Empties the hidden columns of a CSV body, line by line."""

    def __init__(self, *, hides_amount: bool) -> None:
        self._rest = b""
        self._hidden: set[int] | None = None
        self._hides_amount = hides_amount

    def __call__(self, part: bytes, is_last: bool) -> bytes:  # noqa: FBT001 - a callback
        """Return the masked lines that this part completes; keep an incomplete line for later."""
        self._rest += part
        whole = self._whole_lines(is_last=is_last)
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        for row in csv.reader(io.StringIO(whole.decode(), newline="")):
            if self._hidden is None:
                hidden = hidden_columns(row) | ({"amount"} if self._hides_amount else set())
                self._hidden = {index for index, name in enumerate(row) if name in hidden}
                writer.writerow(row)
            else:
                writer.writerow(
                    [
                        "" if index in self._hidden else _mask_cell(cell)
                        for index, cell in enumerate(row)
                    ]
                )
        return written.getvalue().encode()

    def _whole_lines(self, *, is_last: bool) -> bytes:
        """Remove and return the complete lines. A line break in quotes does not end a line."""
        end = len(self._rest) if is_last else self._rest.rfind(b"\n") + 1
        while not is_last and end > 0 and self._rest.count(b'"', 0, end) % 2:
            end = self._rest.rfind(b"\n", 0, end - 1) + 1
        whole, self._rest = self._rest[:end], self._rest[end:]
        return whole


class EventMask:
    """Hides, in server-sent events, the fields that a marketer must not see."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, part: bytes, is_last: bool) -> bytes:  # noqa: FBT001 - a callback
        """Return the masked lines that this part completes; keep an incomplete line for later."""
        self._rest += part
        end = len(self._rest) if is_last else self._rest.rfind(b"\n") + 1
        whole, self._rest = self._rest[:end], self._rest[end:]
        return b"".join(map(self._line, whole.splitlines(keepends=True)))

    def _line(self, line: bytes) -> bytes:
        name, _, data = line.partition(b":")
        if name != b"data" or not data.strip().startswith(b"{"):
            return line
        return b"data: " + json.dumps(mask(json.loads(data))).encode() + b"\n"
