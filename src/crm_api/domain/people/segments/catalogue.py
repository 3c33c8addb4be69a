"""The fields that a rule may name, and the operators that each kind of field accepts."""

from enum import StrEnum

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import ReadModel


class SegmentFieldKind(StrEnum):
    """The kind of a field. The kind decides which operators a rule on the field may use."""

    TEXT = "text"
    PHONE = "phone"
    TAGS = "tags"
    LISTS = "lists"
    FLAGS = "flags"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    """An instant that every contact has, such as the time at which the contact was created."""
    CONTACT_INSTANT = "contact_instant"
    """The instant of the last message; missing if there was no message."""
    CAMPAIGNS = "campaigns"
    NUMBER = "number"
    """A number that every contact has, such as the engagement score."""
    GRADE = "grade"
    """A grade from A to E that every contact has, such as the engagement grade."""
    REPLY_CLASS = "reply_class"
    """The class of the last reply; missing if there was no reply."""
    ATTRIBUTE = "attribute"


ATTRIBUTE_PREFIX = "attributes."

FIELDS: dict[str, SegmentFieldKind] = {
    **dict.fromkeys((*TEXT_COLUMNS, "source"), SegmentFieldKind.TEXT),
    "phone": SegmentFieldKind.PHONE,
    "tags": SegmentFieldKind.TAGS,
    "lists": SegmentFieldKind.LISTS,
    "flags": SegmentFieldKind.FLAGS,
    "opted_out": SegmentFieldKind.BOOLEAN,
    "created_at": SegmentFieldKind.INSTANT,
    "updated_at": SegmentFieldKind.INSTANT,
    "last_contacted_at": SegmentFieldKind.CONTACT_INSTANT,
    "last_replied_at": SegmentFieldKind.CONTACT_INSTANT,
    "campaigns": SegmentFieldKind.CAMPAIGNS,
    "engagement_score": SegmentFieldKind.NUMBER,
    "engagement_grade": SegmentFieldKind.GRADE,
    "reply_class": SegmentFieldKind.REPLY_CLASS,
}
CHOICES: dict[SegmentFieldKind, tuple[str, ...]] = {
    SegmentFieldKind.GRADE: ("A", "B", "C", "D", "E"),
    SegmentFieldKind.REPLY_CLASS: tuple(ReplyClass),
}
"""The values of the fields that have a closed set of values."""

POSITIVES = {
    "ne": "eq",
    "not_in": "in",
    "not_contains": "contains",
    "not_within_last": "within_last",
    "is_not_empty": "is_empty",
}
"""For each negated operator, the operator that it negates.

A negated operator, except ``is_not_empty``, also matches contacts without a value.
"""

_EMPTINESS = ("is_empty", "is_not_empty")
_WORDS = ("eq", "ne", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with")
_TIMES = ("before", "after", "between", "within_last", "not_within_last")
_SET = ("contains", "not_contains", "contains_any", "contains_all", *_EMPTINESS)

OPERATORS: dict[SegmentFieldKind, tuple[str, ...]] = {
    SegmentFieldKind.TEXT: (*_WORDS, *_EMPTINESS),
    SegmentFieldKind.PHONE: ("eq", "ne", "in", "not_in", "starts_with"),
    SegmentFieldKind.TAGS: _SET,
    SegmentFieldKind.LISTS: _SET,
    SegmentFieldKind.FLAGS: _SET,
    SegmentFieldKind.BOOLEAN: ("eq",),
    SegmentFieldKind.INSTANT: _TIMES,
    SegmentFieldKind.CONTACT_INSTANT: (*_TIMES, *_EMPTINESS),
    SegmentFieldKind.CAMPAIGNS: ("contains", "not_contains"),
    SegmentFieldKind.NUMBER: ("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "between"),
    SegmentFieldKind.GRADE: ("eq", "ne", "in", "not_in"),
    SegmentFieldKind.REPLY_CLASS: ("eq", "ne", "in", "not_in", *_EMPTINESS),
    SegmentFieldKind.ATTRIBUTE: (
        *_WORDS,
        *("gt", "gte", "lt", "lte"),
        *(*_TIMES, "within_next"),
        *_EMPTINESS,
    ),
}


class SegmentFieldRead(ReadModel):
    """A field that can be used in a rule, with the data that a form needs to show the field.

    Attributes:
        name: The name to use in a rule.
        label: The name to show to users.
        kind: The kind of the field's values.
        operators: The operators that a rule on this field may use.
        type: The type of a custom field; null for other fields.
        choices: All values of the field; empty for most fields.
    """

    model_config = example(
        name="city", label="City", operators=["eq", "ne", "in", "not_in"], type=None, choices=[]
    )

    name: str
    label: str
    kind: SegmentFieldKind
    operators: list[str]
    type: str | None
    choices: list[str]


def kind_of(field: str) -> SegmentFieldKind | None:
    """Return the kind of a field; None if there is no field with this name."""
    if field.startswith(ATTRIBUTE_PREFIX) and len(field) > len(ATTRIBUTE_PREFIX):
        return SegmentFieldKind.ATTRIBUTE
    return FIELDS.get(field)


def built_in_fields() -> list[SegmentFieldRead]:
    """Return the built-in fields, without the custom fields."""
    return [
        SegmentFieldRead(
            name=name,
            label=name.replace("_", " ").capitalize(),
            kind=kind,
            operators=list(OPERATORS[kind]),
            type=None,
            choices=list(CHOICES.get(kind, ())),
        )
        for name, kind in FIELDS.items()
    ]
