"""Find the property that a row of a contact file describes.

Columns of PropertyRadar become attributes of each owner, such as ``property_address``. A user can
map other columns to these attributes. If a person is in several rows, each row still describes a
property: the owner in three rows becomes one contact with three properties.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crm_api.domain.imports.contacts import values
from crm_api.domain.imports.contacts.rows import PersonRow

_MAX = 200
_YEARS = range(1600, 2101)
_YEAR_NAMES = ("year_built", "yr_built", "yrbuilt", "property_year_built")
_YEAR = re.compile(r"(\d{4})(?:\.0)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyRow:
    """A property, and its people in the order of the row: the phone number and role of each."""

    street: str
    city: str | None
    state: str | None
    postal_code: str | None
    year_built: int | None
    property_type: str | None
    people: list[tuple[str, str]]


def property_of(people: Sequence[PersonRow]) -> PropertyRow | None:
    """Return the property of a row, given the row's people; None if the row describes none."""
    if not people:
        return None
    attributes = people[0].attributes
    street = attributes.get("property_address", "")
    if not street or len(street) > _MAX:
        return None
    return PropertyRow(
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
