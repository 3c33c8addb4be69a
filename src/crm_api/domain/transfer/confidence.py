"""How surely each column means what it is taken for, so that a person knows which to look at."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from enum import StrEnum

from crm_api.domain.phone import InvalidPhoneError, parse_phone, split_numbers
from crm_api.domain.zones import is_time_zone, state_code

_EMAIL_VALUE = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_NAME_VALUE = re.compile(r"^[^\W\d_][^\d@_/]{0,40}$")
_POSTAL_VALUE = re.compile(r"^(?:\d{3,5}(?:\.0)?|\d{5}-\d{4}|[A-Za-z]\d[A-Za-z] ?\d[A-Za-z]\d)$")
_SURE, _DOUBTFUL = 0.9, 0.5
_EXAMPLES = 2
_MAX_EXAMPLE = 60


class ToldBy(StrEnum):
    """By what a column's meaning was told."""

    USER = "user"
    FORMAT = "format"
    NAME = "name"
    VALUES = "values"
    NOTHING = "nothing"
    """It is kept as an attribute of its own name."""


@dataclass(frozen=True, kw_only=True)
class ColumnGuess:
    """What one column is taken for.

    Attributes:
        field: None leaves the column out.
        confidence: ``high``, ``medium`` or ``low``; look at what is low.
        fits: Of the first values, how many in a hundred look like it; None when that says nothing.
        examples: The first values.
    """

    column: str
    field: str | None
    confidence: str
    told_by: ToldBy
    fits: int | None = None
    examples: list[str] = made_by(default_factory=list)


def guess(column: str, target: str | None, told_by: ToldBy, values: Sequence[str]) -> ColumnGuess:
    """Weigh what told a column's meaning against how the first values look.

    Args:
        values: The column's in the sample, blank ones too.
    """
    filled = [value.strip() for value in values if value.strip()]
    test = _TESTS.get((target or "").removeprefix("second."))
    fits = share(filled, test) if test is not None and filled else None
    return ColumnGuess(
        column=column,
        field=target,
        confidence=_confidence(told_by, fits),
        told_by=told_by,
        fits=None if fits is None else round(100 * fits),
        examples=[value[:_MAX_EXAMPLE] for value in filled[:_EXAMPLES]],
    )


def share(filled: Sequence[str], test: Callable[[str], bool]) -> float:
    """Tell how many of these pass, of 1."""
    return sum(1 for value in filled if test(value)) / len(filled) if filled else 0.0


def is_phone(value: str) -> bool:
    """Tell whether a value holds a phone number."""
    try:
        parse_phone(split_numbers(value)[0])
    except InvalidPhoneError:
        return False
    return True


def is_email(value: str) -> bool:
    """Tell whether a value looks like an e-mail address."""
    return bool(_EMAIL_VALUE.match(value))


def is_name(value: str) -> bool:
    """Tell whether a value looks like a person's name."""
    return bool(_NAME_VALUE.match(value))


def _confidence(told_by: ToldBy, fits: float | None) -> str:
    if told_by is ToldBy.USER:
        return "high"
    if fits is not None and fits < _DOUBTFUL:
        return "low"
    if told_by is ToldBy.VALUES:
        return "medium" if fits is not None and fits >= _SURE else "low"
    if told_by is ToldBy.NAME and fits is not None and fits < _SURE:
        return "medium"
    return "high"


_TESTS: Mapping[str, Callable[[str], bool]] = {
    **dict.fromkeys(("phone", "phone_2", "phone_3", "phone_4"), is_phone),
    **dict.fromkeys(("first_name", "last_name"), is_name),
    "email": is_email,
    "state": lambda value: state_code(value) is not None,
    "postal_code": lambda value: bool(_POSTAL_VALUE.match(value)),
    "timezone": is_time_zone,
}
"""How the values of a field look; of the others nothing can be said."""
