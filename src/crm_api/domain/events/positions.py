"""Where a reader of the log stands: the id of the last event that it has seen."""

import re
from typing import NamedTuple

from crm_api.domain.errors import FieldProblem
from crm_api.domain.events.errors import InvalidEventIdError

_WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


class Position(NamedTuple):
    """A place in the log; places compare as the events do."""

    transaction_id: int
    id: int

    def __str__(self) -> str:
        """Write it as an event's id."""
        return f"{self.transaction_id}-{self.id}"


def read_position(text: str, *, pointer: str) -> Position:
    """Read an event's id.

    Args:
        text: ``4711-42``.
        pointer: Where it was given, for the problem.

    Raises:
        InvalidEventIdError: It is none.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        detail = "Give the id of an event as a stream gave it, such as 4711-42, or none."
        fault = FieldProblem(pointer=pointer, code="invalid_event_id", detail=detail)
        raise InvalidEventIdError(detail, errors=[fault])
    return Position(int(found[1]), int(found[2]))
