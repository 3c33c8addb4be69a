"""The result of reading a row: people and problems."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import orjson

from crm_api.domain.imports.contacts.opt_outs import OptOutRow
from crm_api.domain.kit.contact_columns import ADDRESS_COLUMNS, PLAIN_COLUMNS
from crm_api.platform.ids import new_id

COLUMNS = (*PLAIN_COLUMNS, *ADDRESS_COLUMNS)
"""The text columns of a contact, in the order in which dry runs have stored their results."""
PERSON = ("position", "line", "new_id", "phone", *COLUMNS, "zone_key", "tags", "attributes")
"""The columns of ``import_person``, in the order of the copy."""
MAX_SHOWN = 200
"""Characters of a value that a problem shows."""


@dataclass(slots=True, kw_only=True)
class PersonRow:
    """One person of a file, ready to be stored; None means that the file has no value."""

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


_texts_of = attrgetter(*COLUMNS)

Record = Sequence[Any]
"""A person as a row of ``import_person``, in the order of ``PERSON``."""


def as_record(person: PersonRow, position: int) -> Record:
    """Return a person as a database row; ``position`` counts within the chunk.

    The id is for a new contact; a known contact keeps its own.
    """
    return (
        position,
        person.line,
        str(new_id()),
        person.phone,
        *_texts_of(person),
        person.zone_key,
        person.tags,
        orjson.dumps(person.attributes).decode() if person.attributes else "{}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """A value or a row that was refused.

    Attributes:
        refuses: True if the row gave no person because of it; False if only this value was left
            out.
    """

    line: int
    column: str | None
    value: str | None
    code: str
    reason: str
    refuses: bool


@dataclass(frozen=True, slots=True)
class RowResult:
    """The content of a row; empty if the row is for two people and neither has a number."""

    people: list[PersonRow]
    problems: list[RowProblem]
    opt_outs: list[OptOutRow] = field(default_factory=list)


def left_out(line: int, column: str, text: str, code: str, limit: int | None = None) -> RowProblem:
    """Build the problem of a value without which the person was imported."""
    reason = {
        "invalid_email": "This is not an e-mail address; the person was taken without it.",
        "invalid_timezone": "No such time zone; the person was taken without it.",
        "unknown_state": "This is not a known state, province or territory; the person was taken "
        "without it. Until the state is known, messages to this number are sent only at hours "
        "that the rules of every state allow.",
        "unclear_opt_out": "This is neither a yes nor a no. Campaign messages to this number are "
        "held until a person decides: opt the contact out, or in again to release the hold.",
        "too_long": f"Longer than {limit} characters; the person was taken without it.",
    }[code]
    return RowProblem(
        line=line, column=column, value=text[:MAX_SHOWN], code=code, reason=reason, refuses=False
    )


def surplus_values(line: int, values: list[str], *, columns: int) -> RowProblem:
    """Build the problem of values beyond the header's columns."""
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
    """Refuse a whole row."""
    problem = RowProblem(line=line, column=None, value=None, code=code, reason=reason, refuses=True)
    return RowResult([], [problem])
