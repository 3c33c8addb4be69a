"""Hold what was read from one row of a contact file: its people, its property and its problems.

The property is read from the attributes of the first person, such as ``property_address``. A person
who is the owner in three rows becomes one contact with three properties.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import orjson

from crm_api.domain.imports.contacts import values
from crm_api.domain.imports.contacts.opt_outs import OptOutRow
from crm_api.domain.kit.contact_columns import ADDRESS_COLUMNS, PLAIN_COLUMNS
from crm_api.domain.people.properties.imported_property import ImportedProperty
from crm_api.platform.ids import new_id_text

COLUMNS = (*PLAIN_COLUMNS, *ADDRESS_COLUMNS)
"""The text columns of a contact. Do not change their order, because digests of stored dry runs
depend on it."""
PERSON = ("position", "line", "new_id", "phone", *COLUMNS, "zone_key", "tags", "attributes")
"""The columns of the temporary table ``import_person``, in the order in which values are copied."""
MAX_SHOWN = 200
"""The largest number of characters of a value that the report of a problem shows."""


@dataclass(slots=True, kw_only=True)
class PersonRow:
    """One person of a file, ready to be stored. A value that the file does not have is None."""

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
    """Return a person as a row of the temporary table ``import_person``.

    The row has a new contact id. This id is used only if no contact has the person's number.

    Args:
        position: The position of the person in the chunk, from 1.
    """
    return (
        position,
        person.line,
        new_id_text(),
        person.phone,
        *_texts_of(person),
        person.zone_key,
        person.tags,
        orjson.dumps(person.attributes).decode() if person.attributes else "{}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """A value or a row that was not imported.

    Attributes:
        refuses: True if this problem prevented the import of a person; False if only this value was
            left out.
    """

    line: int
    column: str | None
    value: str | None
    code: str
    reason: str
    refuses: bool


# The class is not frozen, because creating a frozen object would take three times as long.
@dataclass(slots=True)
class RowResult:
    """The people, problems and opt-outs that were read from a row.

    A row without a phone number is reported as a problem. But if the file has columns for two
    people, such a row is skipped and not reported.
    """

    people: list[PersonRow]
    problems: list[RowProblem]
    opt_outs: list[OptOutRow] = field(default_factory=list)


def left_out(line: int, column: str, text: str, code: str, limit: int | None = None) -> RowProblem:
    """Describe a value that was left out of an import; the person was imported without it.

    Args:
        limit: The maximum number of characters. It is given only for a value that is too long.
    """
    reason = {
        "invalid_email": "This is not an e-mail address. The person is imported without it.",
        "invalid_timezone": "This is not a time zone. The person is imported without it.",
        "unknown_state": "This is not a known state, province or territory. The person is "
        "imported without it. Until the state is known, messages to this number are sent only at "
        "hours that the rules of every state allow.",
        "unclear_opt_out": "This is neither a yes nor a no. Campaign messages to this number wait "
        "until somebody decides. Opt the contact out, or opt it in to release the messages.",
        "too_long": f"This is longer than {limit} characters. The person is imported without it.",
    }[code]
    return RowProblem(
        line=line, column=column, value=text[:MAX_SHOWN], code=code, reason=reason, refuses=False
    )


def surplus_values(line: int, values: list[str], *, columns: int) -> RowProblem:
    """Build the report about a row that has more values than the header has columns."""
    return RowProblem(
        line=line,
        column=None,
        value=", ".join(values)[:MAX_SHOWN],
        code="surplus_values",
        reason=f"The row has more values than the header has columns ({columns}). The additional "
        "values were left out.",
        refuses=False,
    )


def refused(line: int, code: str, reason: str) -> RowResult:
    """Return the result of a row that cannot be imported at all."""
    problem = RowProblem(line=line, column=None, value=None, code=code, reason=reason, refuses=True)
    return RowResult([], [problem])


_MAX = 200
_YEARS = range(1600, 2101)
_YEAR_NAMES = ("year_built", "yr_built", "yrbuilt", "property_year_built")
_YEAR = re.compile(r"(\d{4})(?:\.0)?")


def property_of(people: Sequence[PersonRow]) -> ImportedProperty | None:
    """Return the property (building) of a row; None if the row has no usable street.

    ``people`` are the people that were read from the row. The attributes of the first person
    contain the address.
    """
    if not people:
        return None
    attributes = people[0].attributes
    street = attributes.get("property_address", "")
    if not street or len(street) > _MAX:
        return None
    return ImportedProperty(
        street=values.squeeze(street),
        city=_short(attributes.get("property_city")),
        state=_short(values.state_name(attributes.get("property_state", ""))),
        postal_code=_short(values.postal_code(attributes.get("property_zip", ""))),
        year_built=_year(attributes),
        property_type=_short(attributes.get("property_type")),
        people=[(one.phone, one.attributes.get("owner_role", "primary")) for one in people],
    )


def _short(text: str | None) -> str | None:
    return text if text and len(text) <= _MAX else None


def _year(attributes: dict[str, str]) -> int | None:
    text = next((attributes[name] for name in _YEAR_NAMES if name in attributes), "")
    found = _YEAR.fullmatch(text.strip())
    return int(found[1]) if found and int(found[1]) in _YEARS else None
