"""Field types that several request bodies share: clean text, numbers, time zones, instants."""

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from crm_api.domain.phone import InvalidPhoneError, parse_phone
from crm_api.domain.zones import is_time_zone

_SPACING = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_CONTROL = re.compile(r"[\x01-\x1f\x7f-\x9f]")
_UNOFFICIAL_ZONE = re.compile(
    r"(?:posix|right)/.*|posixrules|localtime|Factory|.*[^A-Za-z0-9/_+-].*"
)
"""Names that a machine's zone files may hold, but that name no place."""

_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_MIDNIGHT = "24:00"


def clean_line(text: str) -> str:
    """Make one line of it: line breaks to spaces, other control characters away, ends trimmed.

    Raises:
        PydanticCustomError: It holds a NUL, which the database cannot store.
    """
    refuse_nul(text)
    return _CONTROL.sub("", _SPACING.sub(" ", text)).strip()


def refuse_nul(text: str) -> str:
    """Return the text.

    Raises:
        PydanticCustomError: It holds a NUL, which the database cannot store.
    """
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "The text holds a NUL character.")
    return text


def _not_empty(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "The text is empty.")
    return text


def _none_if_blank(text: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    return None if isinstance(text, str) and not text.strip() else text


def _read_phone(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise PydanticCustomError("phone_not_text", "A phone number is a JSON string.")
    if not isinstance(value, str):
        raise PydanticCustomError(
            "phone_not_text",
            'Write the phone number as a JSON string, in quotes: "+16175550123".',
        )
    try:
        return parse_phone(value)
    except InvalidPhoneError as error:
        raise PydanticCustomError("invalid_phone", "{detail}", {"detail": error.detail}) from error


def _check_zone(name: str) -> str:
    if _UNOFFICIAL_ZONE.fullmatch(name) or not is_time_zone(name):
        raise PydanticCustomError(
            "unknown_timezone", "This is no IANA time zone name, such as America/New_York."
        )
    return name


_YEAR = re.compile(r"\s*[0-9]{4}-")
_YEARS = range(1900, 9000)
"""Instants outside are slips of the keyboard, and sums with them leave the calendar."""


def _in_utc(instant: datetime) -> datetime:
    try:
        moved = instant.astimezone(UTC)
    except OverflowError:
        moved = None
    if moved is None or moved.year not in _YEARS:
        raise PydanticCustomError("out_of_range", "Give a time between the years 1900 and 8999.")
    return moved


def _refuse_count(value: Any) -> Any:  # noqa: ANN401 - whatever JSON or a query holds
    """Refuse a bare number: whether it counts seconds, milliseconds or days would be a guess."""
    if isinstance(value, (int, float)) or (isinstance(value, str) and not _YEAR.match(value)):
        raise PydanticCustomError(
            "not_iso_8601", "Write it as ISO 8601, such as 2026-11-25T15:00:00Z or 2026-11-25."
        )
    return value


def read_clock(value: object) -> object:
    """Read ``HH:MM``; ``24:00`` is the end of the day."""
    if not isinstance(value, str) or not _CLOCK.fullmatch(value.strip()):
        raise PydanticCustomError("clock_time", 'Give a time of day as "HH:MM".')
    return time.max if value.strip() == _MIDNIGHT else time.fromisoformat(value.strip())


def write_clock(value: time) -> str:
    """Write a time of day as ``HH:MM``."""
    return _MIDNIGHT if value == time.max else value.strftime("%H:%M")


PhoneNumber = Annotated[str, BeforeValidator(_read_phone)]
"""A number in any usual writing; E.164 once read."""

TimeZoneName = Annotated[str, AfterValidator(_check_zone)]
"""An IANA name."""

RequestInstant = Annotated[AwareDatetime, BeforeValidator(_refuse_count), AfterValidator(_in_utc)]
"""An instant in a request; its offset is needed."""

RequestDay = Annotated[date, BeforeValidator(_refuse_count)]
"""A day in a request."""

Line200 = Annotated[str, StringConstraints(max_length=200), AfterValidator(clean_line)]
Name200 = Annotated[Line200, AfterValidator(_not_empty)]
OptionalLine200 = Annotated[Line200 | None, BeforeValidator(_none_if_blank)]
"""One line of at most 200 characters; a blank one is null."""

BlankIsNull = BeforeValidator(_none_if_blank)
"""For optional fields: forms send an empty text where there is nothing."""

ClockTime = Annotated[
    time,
    BeforeValidator(read_clock),
    PlainSerializer(write_clock, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$", "example": "09:00"}),
]
"""A time of day without a date; ``24:00`` is the end of the day."""
