"""Durations as ISO 8601 writes them: ``P14D``, ``PT6H``, ``P1DT12H30M``."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

_PATTERN = (
    r"^P(?=[0-9T])([0-9]{1,3}W|([0-9]{1,4}D)?"
    r"(T(?=[0-9])([0-9]{1,6}H)?([0-9]{1,6}M)?([0-9]{1,8}S)?)?)$"
)
_PARTS = re.compile(
    r"P(?=[0-9T])(?:(?P<weeks>[0-9]{1,3})W|(?:(?P<days>[0-9]{1,4})D)?(?:T(?=[0-9])"
    r"(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,8})S)?)?)"
)
_UNITS = ((86_400, "D"), (3_600, "H"), (60, "M"), (1, "S"))


def read_duration(value: object) -> timedelta:
    """Read a duration of whole seconds.

    Raises:
        PydanticCustomError: It is none.
    """
    if isinstance(value, timedelta):
        return value
    found = _PARTS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError(
            "duration", 'Give a duration as ISO 8601 writes it, such as "P14D", "PT6H" or "PT90S".'
        )
    return timedelta(**{unit: int(count) for unit, count in found.groupdict("0").items()})


def write_duration(value: timedelta) -> str:
    """Write a duration of whole seconds; ``PT0S`` is none."""
    left, text = int(value.total_seconds()), "P"
    for seconds, letter in _UNITS:
        count, left = divmod(left, seconds)
        if letter != "D" and "T" not in text and (count or (letter == "S" and text == "P")):
            text += "T"
        if count or (letter == "S" and text == "PT"):
            text += f"{count}{letter}"
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _PATTERN, "example": "PT6H"}),
]
"""A length of time in whole seconds."""
