"""The house that a row tells of, beside its people.

PropertyRadar's columns become attributes of each owner (``property_address``, ``property_city`` …),
and so does what a user maps to them. A row whose people came earlier in the file still tells of its
house: who owns three is one contact with three houses.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crm_api.domain.transfer import values
from crm_api.domain.transfer.rows import PersonRow

_MAX = 200
_YEARS = range(1600, 2101)
_YEAR_NAMES = ("year_built", "yr_built", "yrbuilt", "property_year_built")
_YEAR = re.compile(r"(\d{4})(?:\.0)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseRow:
    """An address, and the numbers of its people with their roles, the first one first."""

    street: str
    city: str | None
    state: str | None
    postal_code: str | None
    year_built: int | None
    property_type: str | None
    people: list[tuple[str, str]]


def house_of(people: Sequence[PersonRow]) -> HouseRow | None:
    """Return the house of a row's people; None when the row tells of none."""
    if not people:
        return None
    told = people[0].attributes
    street = told.get("property_address", "")
    if not street or len(street) > _MAX:
        return None
    return HouseRow(
        street=values.squeeze(street),
        city=_short(told.get("property_city")),
        state=_short(values.state_name(told.get("property_state", ""))),
        postal_code=_short(values.postal_code(told.get("property_zip", ""))),
        year_built=_year(told),
        property_type=_short(told.get("property_type")),
        people=[(one.phone, one.attributes.get("owner_role", "primary")) for one in people],
    )


def _short(text: str | None) -> str | None:
    return text if text and len(text) <= _MAX else None


def _year(told: dict[str, str]) -> int | None:
    text = next((told[name] for name in _YEAR_NAMES if name in told), "")
    found = _YEAR.fullmatch(text.strip())
    return int(found[1]) if found and int(found[1]) in _YEARS else None
