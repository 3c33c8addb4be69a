"""Field types that several request bodies share, such as text, phone numbers and time zones."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.kit.zones import is_time_zone

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
"""Pattern of control characters that texts must not contain. Line breaks and tabs are not in this
pattern; other code checks them."""
_BREAK = re.compile(r"[\t\n\r]")
_UNOFFICIAL_ZONE = re.compile(
    r"(?:posix|right)/.*|posixrules|localtime|Factory|.*[^A-Za-z0-9/_+-].*"
)
"""Pattern for names that are not IANA time zones, although a machine may have a time zone file with
such a name."""

_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_MIDNIGHT = "24:00"


def read_line(text: str) -> str:
    """Remove white space at both ends of a text, and check that the result is one line.

    Raises:
        PydanticCustomError: The result has a line break, a tab or another control character. The
            service does not remove these characters without the user's knowledge.
    """
    line = read_lines(text)
    found = _BREAK.search(line)
    if found is not None:
        raise PydanticCustomError(
            "control_character",
            "This field takes one line; remove the line break or tab at character {place}.",
            {"place": text.index(line) + found.start() + 1},
        )
    return line


def read_lines(text: str) -> str:
    """Check a text of one or more lines, and remove white space at both ends of the text.

    Raises:
        PydanticCustomError: The text has a control character other than line breaks and tabs.
    """
    refuse_nul(text)
    found = None if text.isascii() and text.isprintable() else _CONTROL.search(text)
    if found is not None:
        raise PydanticCustomError(
            "control_character",
            "The text contains the control character {code} at position {place}; remove it.",
            {"code": f"U+{ord(found[0]):04X}", "place": found.start() + 1},
        )
    return text.strip()


@dataclass(frozen=True, kw_only=True)
class Text(GroupedMetadata):
    """Adds checks to a text field: ``Annotated[str, Text(longest=200)]``.

    White space around the text is removed.

    Attributes:
        longest: The largest number of characters, before white space is removed.
        shortest: The smallest number of characters, after white space is removed.
        has_lines: Whether line breaks and tabs are accepted.
        clean: Checks the text, and returns it for storing.
    """

    longest: int
    shortest: int | None = None
    has_lines: bool = False
    clean: Callable[[str], str] | None = None

    def __iter__(self) -> Iterator[object]:
        """Yield the constraints that pydantic checks."""
        yield from StringConstraints(min_length=self.shortest, max_length=self.longest)
        yield BeforeValidator(self._read)

    def _read(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        if len(value) > self.longest:
            raise PydanticKnownError("string_too_long", {"max_length": self.longest})
        text = read_lines(value) if self.has_lines else read_line(value)
        return text if self.clean is None else self.clean(text)


def refuse_nul(text: str) -> str:
    """Check that a text has no NUL character, and return it unchanged.

    Raises:
        PydanticCustomError: The text has a NUL character, which the database cannot store.
    """
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "The text has a NUL character; remove it.")
    return text


def _not_empty(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "The text is empty; give at least one character.")
    return text


def _none_if_blank(text: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    return None if isinstance(text, str) and not text.strip() else text


def _read_phone(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise PydanticCustomError("phone_not_text", "Give the phone number as a JSON string.")
    if not isinstance(value, str):
        raise PydanticCustomError(
            "phone_not_text",
            'Write the phone number as a JSON string, in quotes: "+16175550123".',
        )
    try:
        return parse_phone(refuse_nul(value))
    except InvalidPhoneError as error:
        raise PydanticCustomError("invalid_phone", "{detail}", {"detail": error.detail}) from error


def _check_zone(name: str) -> str:
    if _UNOFFICIAL_ZONE.fullmatch(name) or not is_time_zone(name):
        raise PydanticCustomError(
            "unknown_timezone", "Give an IANA time zone name, such as America/New_York."
        )
    return name


_YEAR = re.compile(r"\s*[0-9]{4}-")
_YEARS = range(1900, 9000)
"""The accepted years of a time or date. Other years are typing errors, and calculations with them
could cause an overflow."""


def _in_utc(instant: datetime) -> datetime:
    try:
        moved = instant.astimezone(UTC)
    except OverflowError:
        moved = None
    if moved is None or moved.year not in _YEARS:
        raise PydanticCustomError("out_of_range", "Give a time between the years 1900 and 8999.")
    return moved


def refuse_count(value: Any, *, sentence: str) -> Any:  # noqa: ANN401 - JSON or a query's value
    """Refuse a number where a time or a date is expected.

    The unit of the number (seconds, milliseconds or days) would not be known.

    Args:
        sentence: What the request must have instead.

    Raises:
        PydanticCustomError: The value is a number, or a text that does not begin with a year.
    """
    if isinstance(value, (int, float)) or (isinstance(value, str) and not _YEAR.match(value)):
        raise PydanticCustomError("not_iso_8601", "{sentence}", {"sentence": sentence})
    return value


def read_clock(value: object) -> object:
    """Parse a time of day ``HH:MM``; ``24:00``, the end of the day, becomes ``time.max``."""
    if not isinstance(value, str) or not _CLOCK.fullmatch(value.strip()):
        raise PydanticCustomError("clock_time", 'Give a time of day as "HH:MM".')
    return time.max if value.strip() == _MIDNIGHT else time.fromisoformat(value.strip())


def write_clock(value: time) -> str:
    """Write a time of day as ``HH:MM``; ``time.max`` becomes ``24:00``."""
    return _MIDNIGHT if value == time.max else value.strftime("%H:%M")


PhoneNumber = Annotated[str, BeforeValidator(_read_phone)]
"""A phone number in any usual format. Validation converts it to E.164."""

TimeZoneName = Annotated[str, AfterValidator(_check_zone)]
"""An IANA time zone name."""

RequestInstant = Annotated[
    AwareDatetime,
    BeforeValidator(
        partial(
            refuse_count,
            sentence="Write the time as ISO 8601 with Z or an offset, such as "
            "2026-11-25T15:00:00Z or 2026-11-25T10:00:00-05:00.",
        )
    ),
    AfterValidator(_in_utc),
]
"""An instant in a request, with an offset from UTC. Validation converts it to UTC."""

RequestDay = Annotated[
    date,
    BeforeValidator(
        partial(refuse_count, sentence="Write the date as ISO 8601, such as 2026-11-25.")
    ),
]
"""A date in a request, such as 2026-11-25."""

Line200 = Annotated[str, Text(longest=200)]
Name200 = Annotated[Line200, AfterValidator(_not_empty)]
OptionalLine200 = Annotated[Line200 | None, BeforeValidator(_none_if_blank)]
"""One line of text with at most 200 characters. A blank text becomes null."""

BlankIsNull = BeforeValidator(_none_if_blank)
"""Converts a blank text to null, because forms send an empty text for a missing value."""

ClockTime = Annotated[
    time,
    BeforeValidator(read_clock),
    PlainSerializer(write_clock, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$", "example": "09:00"}),
]
"""A time of day without a date; ``24:00`` is the end of the day."""
