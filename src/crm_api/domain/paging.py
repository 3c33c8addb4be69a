"""Keyset paging: an opaque cursor over ``(time, id)``, stable under inserts."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from crm_api.domain.errors import FieldProblem, InvalidError

Item = TypeVar("Item")


class InvalidCursorError(InvalidError):
    """The cursor was not made by this list."""

    code = "invalid_cursor"
    title = "Invalid cursor"


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list; ``next_cursor`` is None on the last."""

    data: list[Item]
    next_cursor: str | None


def encode_cursor(at: datetime, row_id: UUID) -> str:
    """Make the cursor that continues after the row with this time and id."""
    raw = json.dumps([at.isoformat(), row_id.hex])
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Read a cursor back.

    Raises:
        InvalidCursorError: It is no cursor of ours.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        at, row_id = json.loads(raw)
        return datetime.fromisoformat(at).astimezone(UTC), UUID(hex=row_id)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _invalid_cursor() from error


def _invalid_cursor() -> InvalidCursorError:
    detail = "The cursor is not one of this list's; start again without it."
    fault = FieldProblem(pointer="/cursor", code="invalid_cursor", detail=detail)
    return InvalidCursorError(detail, errors=[fault])


def encode_key(key: str) -> str:
    """Make the cursor that continues after the row with this key, for lists in a key's order."""
    return base64.urlsafe_b64encode(json.dumps({"key": key}).encode()).decode().rstrip("=")


def decode_key(cursor: str) -> str:
    """Read a cursor of ``encode_key`` back.

    Raises:
        InvalidCursorError: It is no cursor of ours.
    """
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        key = found["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        key = None
    if not isinstance(key, str) or "\0" in key:
        raise _invalid_cursor()
    return key
