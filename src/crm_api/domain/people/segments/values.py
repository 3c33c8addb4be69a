"""Check the value of a rule, and convert it to the type that its field and operator need."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.errors import pointer_to
from crm_api.domain.kit.fields import RequestInstant, read_line, refuse_nul
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.kit.validation_errors import sentence_for
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.domain.people.contacts.schemas import MAX_TAG_LENGTH, FlagName
from crm_api.domain.people.segments.catalogue import CHOICES, SegmentFieldKind
from crm_api.domain.people.segments.tree import Distance, Membership, Scalar, Value

LONGEST_TEXT = 200
MOST_VALUES = 500
"""Largest number of values in one list."""
LARGEST_NUMBER = 10**15
MOST_STEPS = 20
UNITS = {"hours": 3_600, "days": 86_400, "weeks": 604_800}
LONGEST_DISTANCE = 3_650 * 86_400
"""Longest accepted period in seconds: ten years."""

_INSTANT = TypeAdapter[datetime](RequestInstant)
_FLAG = TypeAdapter[str](FlagName)
Read = TypeVar("Read")


class BadValueError(Exception):
    """The value in a rule of a segment does not fit the field or the operator of the rule.

    ``within`` is a JSON pointer to the wrong part of the value, such as ``/campaign_id``. It is
    empty if the value as a whole is wrong.
    """

    def __init__(self, code: str, detail: str, *, within: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.within = within


def read_value(kind: SegmentFieldKind, op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    """Check the value of a rule and convert it to its type.

    Args:
        op: The operator without negation. For example, it is ``eq`` if the request has ``ne``.
        value: The value as parsed from JSON; None if the rule has no value.

    Raises:
        BadValueError: The value has the wrong type, or is too long or too large.
    """
    if op == "is_empty":
        if value is not None:
            raise BadValueError(
                "unexpected_value", "This operator takes no value. Leave out `value`."
            )
        return None
    return _READERS[kind](op, value)


def _text(value: object, *, limit: int = LONGEST_TEXT) -> str:
    if not isinstance(value, str):
        raise BadValueError("wrong_type", f"Give a string, not {_name_of(value)}.")
    text = _read_field(lambda: read_line(_unicode(value)))
    if not text:
        raise BadValueError("empty", "The string is empty; use `is_empty` to find missing values.")
    if len(text) > limit:
        raise BadValueError("too_long", f"The string has more than {limit} characters.")
    return text


def _raw_text(value: object) -> str:
    """Check a string that is compared with an attribute; keep its white space."""
    _text(value)
    return refuse_nul(str(value))


def _unicode(value: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadValueError(
            "not_unicode", "The string has an unpaired surrogate. Remove the surrogate."
        )
    return value


def _phone(value: object) -> str:
    try:
        return parse_phone(_text(value))
    except InvalidPhoneError as error:
        raise BadValueError("invalid_phone", error.detail) from error


def _id(value: object) -> UUID:
    try:
        return UUID(_text(value))
    except ValueError as error:
        raise BadValueError("wrong_type", "Give an id (a UUID), as the API returns it.") from error


def _tag(value: object) -> str:
    return _text(value, limit=MAX_TAG_LENGTH)


def _flag(value: object) -> str:
    return _read_field(lambda: _FLAG.validate_python(_text(value)))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadValueError("wrong_type", f"Give true or false, not {_name_of(value)}.")
    return value


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadValueError("wrong_type", f"Give a number, not {_name_of(value)}.")
    # The comparison is written with ``not``, because it is then also true for NaN.
    if not abs(value) <= LARGEST_NUMBER:
        raise BadValueError("out_of_range", "Give a number of at most 15 digits.")
    return Decimal(repr(value))


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise BadValueError("wrong_type", f"Give a time as a string, not {_name_of(value)}.")
    try:
        return _INSTANT.validate_python(value)
    except ValidationError as error:
        detail = 'Give a time with its offset, such as "2026-11-01T00:00:00Z".'
        raise BadValueError("wrong_type", detail) from error


def _date(value: object) -> date:
    try:
        if isinstance(value, str) and len(value) == len("2026-11-01"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise BadValueError("wrong_type", 'Give a date as "2026-11-01".')


def _distance(value: object) -> Distance:
    if not isinstance(value, Mapping) or len(value) != 1 or not value.keys() <= UNITS.keys():
        detail = 'Give a period in one unit: {"days": 30}, or hours, or weeks.'
        raise BadValueError("wrong_type", detail)
    ((unit, amount),) = value.items()
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise BadValueError("wrong_type", "Give a whole number.", within=f"/{unit}")
    if not 1 <= amount * UNITS[unit] <= LONGEST_DISTANCE:
        raise BadValueError(
            "out_of_range", "Give a duration between 1 hour and 10 years.", within=f"/{unit}"
        )
    return Distance(seconds=amount * UNITS[unit])


def _many(read: Callable[[object], Scalar], value: object) -> tuple[Scalar, ...]:
    if not isinstance(value, list):
        raise BadValueError("wrong_type", f"Give a list, not {_name_of(value)}.")
    if not 1 <= len(value) <= MOST_VALUES:
        raise BadValueError("wrong_length", f"Give between 1 and {MOST_VALUES} values.")
    return tuple(_at(f"/{index}", read, one) for index, one in enumerate(value))


def _pair(read: Callable[[object], Scalar], value: object) -> tuple[Scalar, ...]:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise BadValueError(
            "wrong_type", "Give a list of two values: the lowest and the highest that match."
        )
    low, high = _many(read, value)
    if low > high:  # type: ignore[operator]  # both have the type that ``read`` returns
        raise BadValueError("reversed", "The first value is greater than the second; swap them.")
    return low, high


def _at(within: str, read: Callable[[Any], Read], value: Any) -> Read:  # noqa: ANN401 - JSON
    try:
        return read(value)
    except BadValueError as error:
        raise BadValueError(error.code, error.detail, within=f"{within}{error.within}") from error


def _read_field(read: Callable[[], Read]) -> Read:
    """Run a function that checks a value, and convert its errors to ``BadValueError``."""
    try:
        return read()
    except PydanticCustomError as error:
        raise BadValueError(error.type, error.message()) from error
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadValueError(fault["type"], sentence_for(fault)) from error


def _by(read: Callable[[object], Scalar]) -> Callable[[str, Any], Value]:
    """Return a function that checks and converts the value of a rule.

    The arguments of the returned function are the operator and the value of the rule. With the
    operators ``in``, ``contains_any`` and ``contains_all``, the value must be a list.

    Args:
        read: Checks and converts a single value, or one entry of a list.
    """

    def reader(op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
        is_list = op in {"in", "contains_any", "contains_all"}
        return _many(read, value) if is_list else read(value)

    return reader


def _words(op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    return _many(_text, value) if op == "in" else _text(value)


def _phones(op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    return _text(value) if op == "starts_with" else _by(_phone)(op, value)


def _times(op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    if op == "within_last":
        return _distance(value)
    return _pair(_instant, value) if op == "between" else _instant(value)


_OF_ATTRIBUTES: dict[str, Callable[[Any], Value]] = {
    **dict.fromkeys(("within_last", "within_next"), _distance),
    **dict.fromkeys(("before", "after"), _date),
    **dict.fromkeys(("gt", "gte", "lt", "lte"), _number),
    **dict.fromkeys(("contains", "starts_with", "ends_with"), _raw_text),
}


def _attribute(op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    """Read the value of a rule on an attribute.

    If the operator accepts several types, the type of ``value`` decides how ``value`` is read.
    """
    if op in _OF_ATTRIBUTES:
        return _OF_ATTRIBUTES[op](value)
    first = value[0] if isinstance(value, list) and value else value
    is_number = isinstance(first, (int, float)) and not isinstance(first, bool)
    if op == "between":
        return _pair(_number if is_number else _date, value)
    if op == "in":
        return _many(_number if is_number else _raw_text, value)
    if isinstance(value, bool):
        return value
    return _number(value) if is_number else _raw_text(value)


def _score(op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    if op == "between":
        return _pair(_number, value)
    return _many(_number, value) if op == "in" else _number(value)


def _choice(kind: SegmentFieldKind) -> Callable[[object], str]:
    """Return a function that accepts only values that this kind of field allows."""

    def read(value: object) -> str:
        if value not in CHOICES[kind]:
            raise BadValueError("wrong_type", f"Give one of these: {', '.join(CHOICES[kind])}.")
        return str(value)

    return read


def _membership(_op: str, value: Any) -> Value:  # noqa: ANN401 - JSON
    if not isinstance(value, Mapping):
        detail = 'Give {"campaign_id": …}, and optionally `status`, `replied` or `step`.'
        raise BadValueError("wrong_type", detail)
    for name in value:
        if name not in {"campaign_id", "status", "replied", "step"}:
            detail = "Remove this. Only `campaign_id`, `status`, `replied` and `step` are allowed."
            raise BadValueError("unknown_member", detail, within=pointer_to([name]))
    if "campaign_id" not in value:
        raise BadValueError("missing", "Give the id of the campaign.", within="/campaign_id")
    replied, statuses = value.get("replied"), value.get("status")
    return Membership(
        campaign_id=_at("/campaign_id", _id, value["campaign_id"]),
        step=_at("/step", _step, value.get("step", 0)),
        statuses=None if statuses is None else _at("/status", _statuses, statuses),
        has_replied=None if replied is None else _at("/replied", _boolean, replied),
    )


def _step(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_STEPS:
        raise BadValueError(
            "wrong_type", f"Give a step from 0 to {MOST_STEPS}. Step 0 is the first message."
        )
    return value


def _statuses(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in _many(_status, value))


def _status(value: object) -> str:
    if value not in tuple(MembershipStatus):
        raise BadValueError(
            "wrong_type", f"Give one of these statuses: {', '.join(MembershipStatus)}."
        )
    return str(value)


def _name_of(value: object) -> str:
    names = {str: "a string", bool: "true or false", type(None): "null", list: "a list"}
    numbers = {int: "a number", float: "a number", dict: "an object"}
    return (names | numbers).get(type(value), "this")


_READERS: dict[SegmentFieldKind, Callable[[str, Any], Value]] = {
    SegmentFieldKind.TEXT: _words,
    SegmentFieldKind.PHONE: _phones,
    SegmentFieldKind.TAGS: _by(_tag),
    SegmentFieldKind.LISTS: _by(_id),
    SegmentFieldKind.FLAGS: _by(_flag),
    SegmentFieldKind.BOOLEAN: _by(_boolean),
    SegmentFieldKind.INSTANT: _times,
    SegmentFieldKind.CONTACT_INSTANT: _times,
    SegmentFieldKind.CAMPAIGNS: _membership,
    SegmentFieldKind.NUMBER: _score,
    SegmentFieldKind.GRADE: _by(_choice(SegmentFieldKind.GRADE)),
    SegmentFieldKind.REPLY_CLASS: _by(_choice(SegmentFieldKind.REPLY_CLASS)),
    SegmentFieldKind.ATTRIBUTE: _attribute,
}
