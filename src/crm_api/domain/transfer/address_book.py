"""The provider's contacts as rows, so that all that holds for a file holds for them.

One contact is one row, and a custom field is a column of its own name::

    First name,Last name,…,Phone number,Phone 2,Phone 3,OpenPhone id,External id,Roof
    Ada,Rossi,…,+16175550123,,,664d0db69fcac7cf2e6ec,,slate
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crm_api.domain.openphone.json_values import Json, items, mapping, text

_NAMES = ("First name", "Last name", "Company", "Role")
_MEMBERS = ("firstName", "lastName", "company", "role")
_EMAILS = 2
_PHONES = 3
HEADER = (
    *_NAMES,
    *("Email", "Email 2"),
    *("Phone number", "Phone 2", "Phone 3"),
    *("OpenPhone id", "External id"),
)


@dataclass(frozen=True)
class CustomField:
    """A field that the workspace has defined."""

    key: str
    name: str


def custom_fields(listed: Sequence[object]) -> list[CustomField]:
    """Read the definitions; one without a key is left out."""
    fields = []
    for one in map(mapping, listed):
        key = text(one.get("key"))
        if key is not None:
            fields.append(CustomField(key=key, name=text(one.get("name")) or key))
    return fields


def header(fields: Sequence[CustomField]) -> list[str]:
    """Name the columns."""
    return [*HEADER, *(field.name for field in fields)]


def row(contact: object, fields: Sequence[CustomField]) -> list[str]:
    """Write a contact down; more numbers than columns share the last one."""
    whole = mapping(contact)
    known = mapping(whole.get("defaultFields"))
    custom = {
        text(one.get("key")): one.get("value")
        for one in map(mapping, items(whole.get("customFields")))
    }
    return [
        *(_cell(known.get(member)) for member in _MEMBERS),
        *_cells(known.get("emails"), _EMAILS),
        *_cells(known.get("phoneNumbers"), _PHONES),
        _cell(whole.get("id")),
        _cell(whole.get("externalId")),
        *(_cell(custom.get(field.key)) for field in fields),
    ]


def as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    """Write rows as lines of CSV."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _cells(listed: object, columns: int) -> list[str]:
    values = [_cell(one.get("value")) for one in map(mapping, items(listed))]
    filled = [value for value in values if value]
    last = "; ".join(filled[columns - 1 :])
    return [*filled[: columns - 1], *[""] * (columns - 1 - len(filled)), last]


def _cell(value: object) -> str:
    """Write a value in one line; several choices one after another, a thing as its parts."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(filter(None, map(_cell, value)))
    if isinstance(value, dict):
        return ", ".join(filter(None, map(_cell, _parts(value))))
    return " ".join((text(value) or "").split())


def _parts(value: Json) -> list[Any]:
    return list(value.values())
