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
        detail = "The cursor is not one of this list's; start again without it."
        raise InvalidCursorError(
            detail,
            errors=[FieldProblem(pointer="/cursor", code="invalid_cursor", detail=detail)],
        ) from error
