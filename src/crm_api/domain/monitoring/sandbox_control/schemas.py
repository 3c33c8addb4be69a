"""Requests and responses about the sandbox."""

import re
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import REPLY, example
from crm_api.domain.kit.fields import PhoneNumber, RequestInstant, Text
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.kit.schemas import Instant, ReadModel, RequestModel

_BEGINNING = re.compile(r"(\+[0-9]{1,14})?\*")
MOST_STEPS = 20


def _read_phones(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        if _BEGINNING.fullmatch(value):
            return value
        with suppress(InvalidPhoneError):
            return parse_phone(value)
    raise PydanticCustomError(
        "invalid_phone",
        'Give a phone number, the beginning of some and a star such as "+1617555*", or "*" for '
        "all numbers.",
    )


Phones = Annotated[
    str,
    BeforeValidator(_read_phones),
    WithJsonSchema({"type": "string", "example": "+16175550123"}),
]
"""One number, or the beginning of some and a star; ``*`` is all numbers."""

_DURATION = (
    r"^P(?=[0-9T])([0-9]{1,3}W|([0-9]{1,4}D)?"
    r"(T(?=[0-9])([0-9]{1,6}H)?([0-9]{1,6}M)?([0-9]{1,8}S)?)?)$"
)
_TIMEDELTA = TypeAdapter(timedelta)


def _require_iso_8601(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Refuse what pydantic also reads as a duration: numbers, ``6:00``, ``P1Y``."""
    if isinstance(value, timedelta) or (
        isinstance(value, str) and re.fullmatch(_DURATION, value) is not None
    ):
        return value
    raise PydanticCustomError(
        "duration", 'Give a duration in ISO 8601 form, such as "P14D", "PT6H" or "PT90S".'
    )


def write_duration(value: timedelta) -> str:
    """Write a duration of whole seconds; of a long one pydantic would write years of 365 days."""
    days, seconds = divmod(int(value.total_seconds()), 86_400)
    time_part: str = _TIMEDELTA.dump_python(timedelta(seconds=seconds), mode="json")
    if not days:
        return time_part
    return f"P{days}D" + (time_part.removeprefix("P") if seconds else "")


Duration = Annotated[
    timedelta,
    BeforeValidator(_require_iso_8601),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "example": "PT6H"}),
]
"""A length of time in whole seconds."""


class Act(StrEnum):
    """What a person, or their network, does with a message."""

    DELIVER = "deliver"
    FAIL = "fail"
    UNDELIVER = "undeliver"
    REPLY = "reply"
    CALL = "call"


class Behaviour(StrEnum):
    """A named script."""

    REPLIES = "replies"
    STOPS = "stops"
    SILENT = "silent"
    CALLS = "calls"
    LANDLINE = "landline"
    UNDELIVERED = "undelivered"
    UNREACHED = "unreached"


class PersonStep(RequestModel):
    """One action, some time after a message was accepted."""

    do: Act = Field(
        description="`deliver`, `fail` and `undeliver` set the final state of the message; "
        "`reply` sends a message back, `call` rings the line."
    )
    after: Duration = Field(
        default=timedelta(seconds=1), description="How long after the message was accepted."
    )
    text: Annotated[str, Text(shortest=1, longest=1600, has_lines=True)] = Field(
        default="OK", description="The body of a reply."
    )
    error_code: Annotated[str, StringConstraints(pattern="^[0-9]{1,10}$")] | None = Field(
        default=None, description="The carrier's code for a failed message."
    )
    times: int = Field(
        default=1, ge=1, le=5, description="How often its webhook is sent; providers repeat some."
    )
    on_text: int | None = Field(
        default=None, ge=1, le=1000, description="Only on the number's first, second … message."
    )
    answered: bool = Field(strict=True, default=True, description="For a call: it was answered.")


class PersonScript(RequestModel):
    """What a number does when it gets a message: a named behaviour, or a list of steps."""

    model_config = example(
        phone="+16175550123",
        script=[
            {"do": "deliver", "after": "PT2S"},
            {"do": "reply", "after": "PT6H", "text": REPLY},
        ],
    )

    phone: Phones = Field(
        description="A number, the beginning of some and a star (`+1617555*`), or `*`. The most "
        "specific one applies."
    )
    behaviour: Behaviour | None = Field(
        default=None,
        description="`replies` and `stops` answer the first message, `calls` rings back, `silent` "
        "only receives, a `landline` fails, `undelivered` is returned, and of `unreached` no "
        "report ever comes.",
    )
    script: list[PersonStep] | None = Field(
        default=None, max_length=MOST_STEPS, description="What happens on each message."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.behaviour is None) == (self.script is None):
            raise PydanticCustomError("either", "Give either `behaviour` or `script`.")
        return self


class PersonScriptRead(ReadModel):
    """What a number does on each message.

    Attributes:
        script: The steps that the number performs for each message that it gets.
    """

    model_config = example(script=[])

    phone: str
    script: list[PersonStep]


class FaultKind(StrEnum):
    """Kind of a fault; *after* means that the message was accepted all the same."""

    THROTTLED = "429"
    ERROR_BEFORE = "500_before"
    ERROR_AFTER = "500_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HANG = "hang"
    HANG_AFTER = "hang_after"
    SLOW = "slow"
    NO_ID = "202_without_id"
    NO_CREDITS = "402"
    EXPIRED = "402_expired"
    UNAUTHORIZED = "401"
    DAILY_CAP = "403_cap"
    NOT_NUMBER_USER = "403_not_user"
    INTERNATIONAL = "403_international"
    NOT_FOUND = "404"
    INVALID = "400"
    NOT_APPROVED = "400_a2p"
    WEBHOOK_LOST = "webhook_lost"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_TWICE = "webhook_twice"

    @property
    def is_of_webhooks(self) -> bool:
        """True when it affects webhooks, not answers to requests."""
        return self.startswith("webhook_")


class FaultCreate(RequestModel):
    """A fault: for a number of times, or for a percentage of requests."""

    model_config = example(kind="429", count=3, retry_after_seconds=2)

    kind: FaultKind = Field(
        description="An answer of the provider, a broken connection, or a webhook that is lost, "
        "late or sent twice. With `_after`, the message was accepted all the same."
    )
    on: Literal["send", "read"] = Field(
        default="send", description="Whether sends or look-ups fail; webhooks have their own kinds."
    )
    phone: PhoneNumber | None = Field(default=None, description="Only for this person.")
    count: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Number of times; 1 if neither is given."
    )
    percent: int | None = Field(
        default=None, ge=1, le=100, description="Percentage, until it is cleared."
    )
    retry_after_seconds: int | None = Field(
        default=None, ge=0, le=3600, description="The `Retry-After` of a 429."
    )
    delay: Duration = Field(
        default=timedelta(minutes=1), description="How late a late webhook comes."
    )

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.count is not None and self.percent is not None:
            raise PydanticCustomError("either", "Give `count` or `percent`, not both.")
        return self


class FaultRead(ReadModel):
    """An active fault.

    Attributes:
        kind: The kind of the fault.
        on: The calls that the fault happens on.
        phone: The number that the fault happens to; null means every number.
        count: How many times it will still happen; null until it is cleared.
        percent: The percentage of calls that it happens on; null means every call.
        retry_after_seconds: The ``Retry-After`` of the answer, in seconds; null without one.
        delay: How long the answer is delayed, as an ISO 8601 duration.
    """

    kind: FaultKind
    on: Literal["send", "read", "webhook"]
    phone: str | None
    count: int | None
    percent: int | None
    retry_after_seconds: int | None
    delay: Duration


class ClockMove(RequestModel):
    """Where time moves to: a duration from now, or an instant."""

    model_config = example(advance="P14D")

    advance: Duration | None = Field(default=None, description="How far, from now.")
    to: RequestInstant | None = Field(default=None, description="An instant after now.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.advance is None) == (self.to is None):
            raise PydanticCustomError("either", "Give either `advance` or `to`.")
        return self


class ClockMoveRead(ReadModel):
    """The move under way, or the last one.

    Attributes:
        from_at: The sandbox time before the move.
        to_at: The sandbox time after the move.
    """

    model_config = example(
        from_at="2026-11-30T15:00:00.000Z", to_at="2026-12-14T15:00:00.000Z", stops=43
    )

    from_at: Instant
    to_at: Instant
    stops: int = Field(description="How often time has stopped on the way for due work.")
    failure: str | None = Field(description="What delays the move; it is tried again.")


class ClockStatus(StrEnum):
    """Whether time is being moved."""

    STILL = "still"
    MOVING = "moving"


class ClockRead(ReadModel):
    """The time in the sandbox; after a move it runs on like the machine's clock.

    Attributes:
        now: The current time of the sandbox.
        move: The clock move that is in progress; null otherwise.
    """

    model_config = example(now="2026-12-14T15:00:00.420Z", ahead="P14D")

    now: Instant
    ahead: Duration = Field(description="How far ahead of the machine's clock.")
    status: ClockStatus
    move: ClockMoveRead | None
