"""Which fields a rule may name, and which operators each kind of field takes."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is known of a field, and so how it may be compared."""

    TEXT = "text"
    PHONE = "phone"
    TAGS = "tags"
    LISTS = "lists"
    FLAGS = "flags"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    """One that everybody has."""
    CONTACT_INSTANT = "contact_instant"
    """One that is missing where there was no contact."""
    CAMPAIGNS = "campaigns"
    ATTRIBUTE = "attribute"


ATTRIBUTE_PREFIX = "attributes."

FIELDS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            *("first_name", "last_name", "email", "company"),
            *("street", "city", "state", "postal_code", "country", "timezone", "source"),
        ),
        Kind.TEXT,
    ),
    "phone": Kind.PHONE,
    "tags": Kind.TAGS,
    "lists": Kind.LISTS,
    "flags": Kind.FLAGS,
    "opted_out": Kind.BOOLEAN,
    "created_at": Kind.INSTANT,
    "updated_at": Kind.INSTANT,
    "last_contacted_at": Kind.CONTACT_INSTANT,
    "last_replied_at": Kind.CONTACT_INSTANT,
    "campaigns": Kind.CAMPAIGNS,
}

POSITIVES = {
    "ne": "eq",
    "not_in": "in",
    "not_contains": "contains",
    "not_within_last": "within_last",
    "is_not_empty": "is_empty",
}
"""An operator that holds exactly where the other does not, also where there is no value."""

_EMPTINESS = ("is_empty", "is_not_empty")
_WORDS = ("eq", "ne", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with")
_TIMES = ("before", "after", "between", "within_last", "not_within_last")
_SET = ("contains", "not_contains", "contains_any", "contains_all", *_EMPTINESS)

OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*_WORDS, *_EMPTINESS),
    Kind.PHONE: ("eq", "ne", "in", "not_in", "starts_with"),
    Kind.TAGS: _SET,
    Kind.LISTS: _SET,
    Kind.FLAGS: _SET,
    Kind.BOOLEAN: ("eq",),
    Kind.INSTANT: _TIMES,
    Kind.CONTACT_INSTANT: (*_TIMES, *_EMPTINESS),
    Kind.CAMPAIGNS: ("contains", "not_contains"),
    Kind.ATTRIBUTE: (
        *_WORDS,
        *("gt", "gte", "lt", "lte"),
        *(*_TIMES, "within_next"),
        *_EMPTINESS,
    ),
}


@dataclass(frozen=True, kw_only=True)
class FieldEntry:
    """A field as a query builder shows it.

    Attributes:
        type: Of a custom field, and so its ``choices``.
    """

    name: str
    label: str
    kind: Kind
    operators: tuple[str, ...]
    type: str | None = None
    choices: tuple[str, ...] = ()


def kind_of(field: str) -> Kind | None:
    """Return what a field is; None when there is none of this name."""
    if field.startswith(ATTRIBUTE_PREFIX) and len(field) > len(ATTRIBUTE_PREFIX):
        return Kind.ATTRIBUTE
    return FIELDS.get(field)


def entries() -> list[FieldEntry]:
    """List the fields that every contact has."""
    return [
        FieldEntry(
            name=name,
            label=name.replace("_", " ").capitalize(),
            kind=kind,
            operators=OPERATORS[kind],
        )
        for name, kind in FIELDS.items()
    ]
