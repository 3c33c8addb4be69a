"""Convert single values of the provider's JSON; a value of a wrong type becomes None or empty."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Json = Mapping[str, Any]

_MILLISECONDS_FROM = 100_000_000_000
LONGEST_ID = 255
"""Maximum length of an id, a phone number or a code; the database cannot index longer values."""
LONGEST_MESSAGE = 200
"""Maximum length of an error message of the provider that is stored."""
_YEARS = range(2000, 2200)
"""A time outside these years is treated as an error of the sender."""
_DIGITS = re.compile(r"\+?\d[\d\s().-]{5,}\d")
_SPACE = re.compile(r"\s+")


def mapping(value: object) -> Json:
    """Return ``value`` if it is a JSON object, else an empty object."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Return ``value`` if it is a JSON array, else an empty array."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """Return a string or a number as text that PostgreSQL can store.

    Return None for an empty string and for every other type. NUL characters are removed.
    """
    if isinstance(value, str):
        if not value.isascii():
            # Half of a UTF-16 surrogate pair is valid in JSON, but it cannot be encoded as UTF-8.
            # So it is replaced.
            value = value.encode("utf-8", "replace").decode()
        return value.replace("\x00", "") or None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def identity(value: object) -> str | None:
    """Return an id or a code as text; None if it is empty or longer than ``LONGEST_ID``."""
    found = text(value)
    return None if found is None or len(found) > LONGEST_ID else found


def first_identity(*values: object) -> str | None:
    """Return the first value that is usable as an id or a code; None if no value is usable.

    A usable value is not empty, and not longer than ``LONGEST_ID``.
    """
    for value in values:
        found = identity(value)
        if found is not None:
            return found
    return None


def first_text(*values: object) -> str | None:
    """Return the first value that is a non-empty text or a number, as text.

    If no value is usable, return None.
    """
    for value in values:
        found = text(value)
        if found is not None:
            return found
    return None


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a JSON array as a tuple; numbers become texts.

    A single text or number gives a tuple with one text. Empty texts and other values are left out.
    """
    listed = items(value) or [value]
    return tuple(found for item in listed if (found := text(item)) is not None)


def number(value: object) -> float | None:
    """Return ``value`` if it is a JSON number, else None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return None


def flag(value: object) -> bool | None:
    """Return ``value`` if it is a JSON boolean, else None."""
    return value if isinstance(value, bool) else None


def instant(value: object) -> datetime | None:
    """Convert an ISO 8601 time, or a Unix time in seconds or milliseconds, to UTC.

    Return None if the value cannot be parsed or is outside the years 2000 to 2199.
    """
    try:
        read = _instant(value)
    except (ValueError, OverflowError, OSError):
        return None
    return read if read is not None and read.year in _YEARS else None


def _instant(value: object) -> datetime | None:
    if isinstance(value, str):
        read = datetime.fromisoformat(value.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    seconds = number(value)
    if seconds is None:
        return None
    scale = 1000 if seconds >= _MILLISECONDS_FROM else 1
    return datetime.fromtimestamp(seconds / scale, UTC)


def identifier(value: object) -> str | None:
    """Return an identifier, such as an id or a phone number; None if it is empty or too long.

    Spaces inside a phone number are removed.
    """
    found = text(value)
    if found is None:
        return None
    found = found.strip()
    if found.startswith("+"):
        found = _SPACE.sub("", found)
    return found if 0 < len(found) <= LONGEST_ID else None


def identifiers(value: object) -> tuple[str, ...]:
    """Return the ids or phone numbers in a text, or in an array of texts.

    A text can contain several ids or phone numbers, separated by commas.
    """
    found: list[str] = []
    for item in texts(value):
        found += [one for part in item.split(",") if (one := identifier(part)) is not None]
    return tuple(found)


def without_numbers(message: str) -> str:
    """Shorten an error message for storage, and replace all phone numbers in it by ``…``.

    Other long numbers are replaced too, if they look like a phone number.
    """
    # The message is cut at a maximum length. Search a little beyond the cut, so that a phone number
    # at the cut is still recognised.
    kept = text(message[: LONGEST_MESSAGE + 50]) or ""
    return _DIGITS.sub("…", kept)[:LONGEST_MESSAGE]
