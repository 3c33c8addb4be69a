"""Read single values out of the provider's JSON without ever failing on their shape."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Json = Mapping[str, Any]

_MILLISECONDS_FROM = 100_000_000_000
_DIGITS = re.compile(r"\+?\d[\d\s().-]{5,}\d")
_SPACE = re.compile(r"\s+")


def mapping(value: object) -> Json:
    """Return a JSON object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Return a JSON array, or an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """Return a non-empty text that a database can hold; a number becomes its digits."""
    if isinstance(value, str):
        if not value.isascii():
            # Half a surrogate pair is valid JSON and no valid text.
            value = value.encode("utf-8", "replace").decode()
        return value.replace("\x00", "") or None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def first_text(*values: object) -> str | None:
    """Return the first that is a non-empty text."""
    for value in values:
        found = text(value)
        if found is not None:
            return found
    return None


def texts(value: object) -> tuple[str, ...]:
    """Return the non-empty texts of an array, or the one text."""
    listed = items(value) or [value]
    return tuple(found for item in listed if (found := text(item)) is not None)


def number(value: object) -> float | None:
    """Return a JSON number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return None


def flag(value: object) -> bool | None:
    """Return a JSON boolean."""
    return value if isinstance(value, bool) else None


def instant(value: object) -> datetime | None:
    """Return an ISO 8601 time or a Unix time (seconds or milliseconds) in UTC."""
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value.strip())
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        seconds = number(value)
        if seconds is not None:
            scale = 1000 if seconds >= _MILLISECONDS_FROM else 1
            return datetime.fromtimestamp(seconds / scale, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def identifier(value: object) -> str | None:
    """Return a phone number without spaces, or another identifier as it is."""
    found = text(value)
    if found is None:
        return None
    found = found.strip()
    if found.startswith("+"):
        found = _SPACE.sub("", found)
    return found or None


def identifiers(value: object) -> tuple[str, ...]:
    """Return phone numbers out of a text, a comma-joined text, or an array of either."""
    found: list[str] = []
    for item in texts(value):
        found += [one for part in item.split(",") if (one := identifier(part)) is not None]
    return tuple(found)


def without_numbers(message: str, *, longest: int = 200) -> str:
    """Return a message short enough for a log, with anything like a phone number taken out."""
    return _DIGITS.sub("…", message)[:longest]
