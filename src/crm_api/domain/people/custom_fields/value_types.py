"""Convert values of contact attributes to the type of their custom field.

| type | stored as | also accepted |
| --- | --- | --- |
| text | string | a number, true or false |
| integer | integer | ``"1,987"``, ``"$350,000"``, ``42.0`` |
| number | number | ``"1,250.50"``, ``"$12.50"`` |
| boolean | true or false | yes, no, y, n, t, f, 1, 0, on, off |
| date | ``"2026-11-25"`` | ``"11/25/2026"``, an instant (its date) |
| choice | the choice as defined | the choice in upper or lower case |
| url | with its scheme | without scheme: ``https`` is added |
| email | host in lower case | host in upper case |
"""

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from crm_api.domain.people.models.contacts import FieldType

MAX_TEXT = 5_000
MAX_ADDRESS = 2_048
_MAX_EMAIL = 254
_LARGEST_INTEGER = 2**53 - 1
"""Largest integer that JSON clients represent exactly."""
_LARGEST_NUMBER = 1e15
_MAX_DIGITS = 30
"""Numbers with more digits exceed every limit, and are slow to parse."""

_AMOUNT = re.compile(
    r"(?P<sign>[+-]?)\$?(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?P<part>\.\d*)?", re.ASCII
)
_EMAIL = re.compile(
    r"(?P<person>[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64})@"
    r"(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63})"
)
_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<host>(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,63}|localhost|\d{1,3}(?:\.\d{1,3}){3})"
    r"(?P<rest>(?::\d{1,5})?(?:[/?#]\S*)?)"
)
_ISO_DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?:[T ]\d{2}:\d{2}\S*)?", re.ASCII
)
_US_DATE = re.compile(r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})", re.ASCII)
_TRUE = frozenset(("true", "t", "yes", "y", "1", "on"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "off"))


class MisfitError(ValueError):
    """A value does not fit its custom field; the text of the error says which values fit."""


def normalise(value: Any, kind: FieldType, choices: Sequence[str] = ()) -> Any:  # noqa: ANN401 - JSON in and out
    """Convert a value to the form in which values of type ``kind`` are stored.

    Null and a blank text become None.

    Raises:
        MisfitError: The value does not fit the type.
    """
    if isinstance(value, (dict, list)):
        raise MisfitError("Give one value, not a list or an object.")
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        return None
    if kind is FieldType.CHOICE:
        return _choice(value, choices)
    return _READERS[kind](value)


def is_same_json(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON values
    """Return whether two values are the same JSON value.

    In Python, ``1``, ``1.0`` and ``True`` are equal; in JSON they are not.
    """
    return type(one) is type(other) and one == other


def _text(value: Any) -> str:  # noqa: ANN401 - a JSON scalar
    text = value if isinstance(value, str) else _written(value)
    if len(text) > MAX_TEXT:
        raise MisfitError(f"Give a text of at most {MAX_TEXT:,} characters.")
    return text


def _written(value: Any) -> str:  # noqa: ANN401 - a JSON scalar
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _integer(value: Any) -> int:  # noqa: ANN401 - a JSON scalar
    found = _amount(value)
    if found is None or found != int(found):
        raise MisfitError("Give a whole number, such as 1987.")
    if abs(found) > _LARGEST_INTEGER:
        raise MisfitError(f"Give a whole number of at most {_LARGEST_INTEGER}.")
    return int(found)


def _number(value: Any) -> int | float:  # noqa: ANN401 - a JSON scalar
    found = _amount(value)
    if found is None:
        raise MisfitError("Give a number, such as 1250.5.")
    if abs(found) >= _LARGEST_NUMBER:
        raise MisfitError("Give a number below 1,000,000,000,000,000.")
    return int(found) if found == int(found) else found


def _amount(value: Any) -> int | float | None:  # noqa: ANN401 - a JSON scalar
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    found = _AMOUNT.fullmatch(value)
    if found is None or not (found["whole"] or (found["part"] or "").strip(".")):
        return None
    digits = f"{found['sign']}{(found['whole'] or '0').replace(',', '')}"
    if len(digits) > _MAX_DIGITS:
        return 10 * _LARGEST_NUMBER
    fraction = (found["part"] or "").strip(".")
    return float(f"{digits}.{fraction}") if fraction.strip("0") else int(digits)


def _boolean(value: Any) -> bool:  # noqa: ANN401 - a JSON scalar
    word = _written(value).casefold() if not isinstance(value, str) else value.casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise MisfitError("Give true or false, yes or no.")


def _date(value: Any) -> str:  # noqa: ANN401 - a JSON scalar
    found = None
    if isinstance(value, str):
        found = _ISO_DATE.fullmatch(value) or _US_DATE.fullmatch(value)
    if found is None:
        raise MisfitError('Give a date as "2026-11-25" or "11/25/2026".')
    try:
        return date(int(found["year"]), int(found["month"]), int(found["day"])).isoformat()
    except ValueError as error:
        raise MisfitError("This day does not exist; correct the date.") from error


def _choice(value: Any, choices: Sequence[str]) -> str:  # noqa: ANN401 - a JSON scalar
    word = _written(value).casefold() if not isinstance(value, str) else value.casefold()
    for choice in choices:
        if choice.casefold() == word:
            return choice
    shown = ", ".join(choices[:20]) + (" …" if len(choices) > 20 else "")  # noqa: PLR2004 - fits on one line
    raise MisfitError(f"Choose one of: {shown}.")


def _url(value: Any) -> str:  # noqa: ANN401 - a JSON scalar
    found = _URL.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_ADDRESS else None
    if found is None or (found["scheme"] or "https").lower() not in {"http", "https"}:
        raise MisfitError("Give a web address, such as https://example.com/roof.")
    return f"{(found['scheme'] or 'https').lower()}://{found['host'].lower()}{found['rest']}"


def _email(value: Any) -> str:  # noqa: ANN401 - a JSON scalar
    found = _EMAIL.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_EMAIL else None
    if found is None or ".." in value:
        raise MisfitError("Give an e-mail address, such as ada@example.com.")
    return f"{found['person']}@{found['host'].lower()}"


_READERS: dict[FieldType, Callable[[Any], Any]] = {
    FieldType.TEXT: _text,
    FieldType.INTEGER: _integer,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.URL: _url,
    FieldType.EMAIL: _email,
}
