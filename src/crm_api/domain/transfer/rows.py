"""What a row of a file becomes: people, and problems."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from crm_api.ids import new_id

MAX_SHOWN = 200
"""Characters of a value that a problem shows."""


@dataclass(slots=True, kw_only=True)
class PersonRow:
    """One person of a file, ready to be stored; None is "the file does not say"."""

    line: int
    phone: str
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    company: str | None = None
    street: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None
    timezone: str | None = None
    zone_key: str = ""
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)


Record = Sequence[Any]
"""A person as ``import_person`` takes them, in the order of ``merge_statements.PERSON``."""


def as_record(person: PersonRow, position: int) -> Record:
    """Write a person down for the database; ``position`` counts within the chunk.

    The id is for a new contact; one that is known keeps its own.
    """
    return (
        position,
        person.line,
        str(new_id()),
        person.phone,
        person.first_name,
        person.last_name,
        person.email,
        person.company,
        person.timezone,
        person.street,
        person.city,
        person.state,
        person.postal_code,
        person.country,
        person.zone_key,
        person.tags,
        orjson.dumps(person.attributes).decode() if person.attributes else "{}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Something in a row that could not be taken.

    Attributes:
        refuses: The row made no person because of it; else only this value was left out.
    """

    line: int
    column: str | None
    value: str | None
    code: str
    reason: str
    refuses: bool


@dataclass(frozen=True, slots=True)
class RowResult:
    """What a row held; neither people nor problems when nobody in it has a number."""

    people: list[PersonRow]
    problems: list[RowProblem]


def left_out(line: int, column: str, text: str, code: str, limit: int | None = None) -> RowProblem:
    """Tell of a value without which the person was taken."""
    reason = {
        "invalid_email": "This is not an e-mail address; the person was taken without it.",
        "invalid_timezone": "No such time zone; the person was taken without it.",
        "too_long": f"Longer than {limit} characters; the person was taken without it.",
    }[code]
    return RowProblem(
        line=line, column=column, value=text[:MAX_SHOWN], code=code, reason=reason, refuses=False
    )


def surplus_values(line: int, values: list[str], *, columns: int) -> RowProblem:
    """Tell of values beyond the header's columns."""
    return RowProblem(
        line=line,
        column=None,
        value=", ".join(values)[:MAX_SHOWN],
        code="surplus_values",
        reason=f"The row has more values than the header's {columns} columns; the surplus was "
        "left out.",
        refuses=False,
    )


def refused(line: int, code: str, reason: str) -> RowResult:
    """Refuse a row as a whole."""
    problem = RowProblem(line=line, column=None, value=None, code=code, reason=reason, refuses=True)
    return RowResult([], [problem])
