"""The property (building) that one row of an imported file describes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedProperty:
    """The property in one row of an imported file, and its people.

    Attributes:
        people: The E.164 number and the role of each person, in the order of the row. An unknown
            role means ``other``.
    """

    street: str
    city: str | None
    state: str | None
    postal_code: str | None
    year_built: int | None
    property_type: str | None
    people: list[tuple[str, str]]
