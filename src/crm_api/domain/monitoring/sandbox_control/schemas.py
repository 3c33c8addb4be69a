"""API models of the sandbox: its clock, the scripts of its people, and its faults."""

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
from crm_api.domain.kit.fields import PhoneNumber, RequestInstant, Text, refuse_nul
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.kit.schemas import Instant, ReadModel, RequestModel

_BEGINNING = re.compile(r"(\+[0-9]{1,14})?\*")
MOST_STEPS = 20


def _read_phones(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        refuse_nul(value)
        if _BEGINNING.fullmatch(value):
            return value
        with suppress(InvalidPhoneError):
            return parse_phone(value)
    raise PydanticCustomError(
        "invalid_phone",
        'Use a phone number, the first digits of several numbers and a star (such as "+1617555*"), '
        'or "*" for all numbers.',
    )


Phones = Annotated[
    str,
    BeforeValidator(_read_phones),
    WithJsonSchema({"type": "string", "example": "+16175550123"}),
]
"""One or more phone numbers. The text is a phone number, or the first digits of several numbers and
a star (``+1617555*``), or ``*`` for all numbers."""

_DURATION = (
    r"^P(?=[0-9T])([0-9]{1,3}W|([0-9]{1,4}D)?"
    r"(T(?=[0-9])([0-9]{1,6}H)?([0-9]{1,6}M)?([0-9]{1,8}S)?)?)$"
)
_TIMEDELTA = TypeAdapter(timedelta)


def _require_iso_8601(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Refuse durations that pydantic accepts, but this API does not: 60, ``6:00`` and ``P1Y``."""
    if isinstance(value, timedelta) or (
        isinstance(value, str) and re.fullmatch(_DURATION, value) is not None
    ):
        return value
    raise PydanticCustomError(
        "duration", 'Use a duration in ISO 8601 form, such as "P14D", "PT6H" or "PT90S".'
    )


def write_duration(value: timedelta) -> str:
    """Format a duration in ISO 8601 with days, hours, minutes and whole seconds: ``P400DT2H30S``.

    The text never contains years. pydantic would write 400 days as a year and 35 days.
    """
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
"""A duration of whole seconds, in ISO 8601 form."""


class Act(StrEnum):
    """What a simulated person, or the person's mobile network, does with a message."""

    DELIVER = "deliver"
    FAIL = "fail"
    UNDELIVER = "undeliver"
    REPLY = "reply"
    CALL = "call"


class Behaviour(StrEnum):
    """The name of a ready-made script for a simulated person, such as `stops`."""

    REPLIES = "replies"
    STOPS = "stops"
    SILENT = "silent"
    CALLS = "calls"
    LANDLINE = "landline"
    UNDELIVERED = "undelivered"
    UNREACHED = "unreached"


class PersonStep(RequestModel):
    """One action of a simulated person, some time after the sandbox accepted a message."""

    do: Act = Field(
        description="The action. `deliver`, `fail` and `undeliver` set the final status of the "
        "message. `reply` sends a message to the line. `call` makes a phone call to the line."
    )
    after: Duration = Field(
        default=timedelta(seconds=1),
        description="The time between the acceptance of the message and this action.",
    )
    text: Annotated[str, Text(shortest=1, longest=1600, has_lines=True)] = Field(
        default="OK", description="The text of the message that `reply` sends."
    )
    error_code: Annotated[str, StringConstraints(pattern="^[0-9]{1,10}$")] | None = Field(
        default=None,
        description="The error code of the carrier that `fail` and `undeliver` report.",
    )
    times: int = Field(
        default=1,
        ge=1,
        le=5,
        description="The number of times that the webhook about this action is sent. More than 1 "
        "simulates a provider that repeats webhooks.",
    )
    on_text: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="The message after which the action happens: 1 for the first message to the "
        "phone number, 2 for the second. By default, the action happens after every message.",
    )
    answered: bool = Field(
        strict=True, default=True, description="Whether the phone call of `call` is answered."
    )


class PersonScript(RequestModel):
    """What a simulated person does after each message to the person's phone number.

    A script is either the name of a behaviour or a list of steps.
    """

    model_config = example(
        phone="+16175550123",
        script=[
            {"do": "deliver", "after": "PT2S"},
            {"do": "reply", "after": "PT6H", "text": REPLY},
        ],
    )

    phone: Phones = Field(
        description="A phone number; or first digits and a star, such as `+1617555*`; or `*` for "
        "all numbers. If several scripts match a number, the one with the "
        "most digits applies."
    )
    behaviour: Behaviour | None = Field(
        default=None,
        description="A named script. `replies`: the person replies to the first message. `stops`: "
        "the person replies STOP to the first message. `calls`: the person calls back after the "
        "first message. `silent`: the person gets the messages and does nothing. `landline`: every "
        "message fails. `undelivered`: the carrier filters every message. `unreached`: the "
        "provider never reports what happened to a message.",
    )
    script: list[PersonStep] | None = Field(
        default=None,
        max_length=MOST_STEPS,
        description="The steps that happen for each message, instead of a named behaviour.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.behaviour is None) == (self.script is None):
            raise PydanticCustomError("either", "Send exactly one of `behaviour` and `script`.")
        return self


class PersonScriptRead(ReadModel):
    """The script of a phone number: what its simulated person does after each message.

    Attributes:
        phone: The phone number; or the first digits of several numbers and a star, such as
            `+1617555*`; or `*` for all numbers.
        script: The steps that happen after each message to the phone number.
    """

    model_config = example(script=[])

    phone: str
    script: list[PersonStep]


class PersonMessage(RequestModel):
    """A message that a simulated person sends to a line of the company."""

    model_config = example(phone="+16175550123", text=REPLY)

    phone: PhoneNumber = Field(description="The phone number of the person who writes.")
    text: Annotated[str, Text(shortest=1, longest=1600, has_lines=True)] = Field(
        description="What the person writes. `STOP` opts out."
    )
    line: PhoneNumber | None = Field(
        default=None,
        description="The phone number of the line. By default, it is the line with which the "
        "person had the newest message or call. If there is none, it is the sandbox's first line.",
    )
    pictures: int = Field(
        strict=True,
        default=0,
        ge=0,
        le=3,
        description="The number of pictures that come with the message.",
    )


class PersonCall(RequestModel):
    """A phone call of a simulated person to a line of the company."""

    model_config = example(phone="+16175550123", answered=False, voicemail=True)

    phone: PhoneNumber = Field(description="The phone number of the person who calls.")
    line: PhoneNumber | None = Field(
        default=None,
        description="The phone number of the line. By default, it is the line with which the "
        "person had the newest message or call. If there is none, it is the sandbox's first line.",
    )
    answered: bool = Field(
        strict=True, default=False, description="Whether a user answers the phone call."
    )
    voicemail: bool = Field(
        strict=True, default=False, description="Whether the person leaves a voicemail."
    )


class FaultKind(StrEnum):
    """The kind of a simulated fault.

    A number at the beginning of a value is the HTTP status of the response. `_after` means that the
    sandbox accepts the message before the fault; `_before` means that it does not accept the
    message.
    """

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
        """True if the fault affects webhooks instead of responses to requests."""
        return self.startswith("webhook_")


class FaultCreate(RequestModel):
    """A simulated fault that happens a limited number of times, or in a percentage of requests."""

    model_config = example(kind="429", count=3, retry_after_seconds=2)

    kind: FaultKind = Field(
        description="What goes wrong: an error response, a broken or slow connection, or a webhook "
        "that is lost, late or sent twice. A kind that ends in `_after` first accepts the message."
    )
    on: Literal["send", "read"] = Field(
        default="send",
        description="The requests that fail: `send` for sends, `read` for look-ups. This field is "
        "ignored for webhook faults.",
    )
    phone: PhoneNumber | None = Field(
        default=None,
        description="The fault happens only for requests and webhooks about this phone number. By "
        "default, it happens for all phone numbers.",
    )
    count: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="The number of times that the fault happens. The default is 1, unless "
        "`percent` is set.",
    )
    percent: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="The percentage of requests for which the fault happens, until the faults are "
        "removed.",
    )
    retry_after_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="The value of the header `Retry-After` in a 429 response, in seconds.",
    )
    delay: Duration = Field(
        default=timedelta(minutes=1), description="The delay of the webhook for `webhook_late`."
    )

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.count is not None and self.percent is not None:
            raise PydanticCustomError("either", "Send only one of `count` and `percent`.")
        return self


class FaultRead(ReadModel):
    """A simulated fault that can still happen.

    Attributes:
        kind: What goes wrong.
        on: What fails: sends, look-ups, or webhooks.
        phone: The phone number whose requests and webhooks have the fault; null for all numbers.
        count: How often the fault will still happen; null if it is not limited.
        percent: The percentage of requests for which the fault happens; null for all requests.
        retry_after_seconds: The header `Retry-After` of the response, in seconds; null if there is
            none.
        delay: The delay of a late webhook.
    """

    kind: FaultKind
    on: Literal["send", "read", "webhook"]
    phone: str | None
    count: int | None
    percent: int | None
    retry_after_seconds: int | None
    delay: Duration


class ClockMove(RequestModel):
    """How far to move the sandbox clock: by a duration, or to a time."""

    model_config = example(advance="P14D")

    advance: Duration | None = Field(
        default=None,
        description="Move the clock forward by this duration, from the current sandbox time.",
    )
    to: RequestInstant | None = Field(
        default=None,
        description="Move the clock to this time. It must be later than the current sandbox time.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.advance is None) == (self.to is None):
            raise PydanticCustomError("either", "Send exactly one of `advance` and `to`.")
        return self


class ClockMoveRead(ReadModel):
    """The current move of the sandbox clock, or the last move if the clock is not moving.

    Attributes:
        from_at: The sandbox time before the move.
        to_at: The sandbox time after the move.
    """

    model_config = example(
        from_at="2026-11-30T15:00:00.000Z", to_at="2026-12-14T15:00:00.000Z", stops=43
    )

    from_at: Instant
    to_at: Instant
    stops: int = Field(
        description="The number of times that the clock has stopped during the move, so that due "
        "work could be done."
    )
    failure: str | None = Field(
        description="Why the move is delayed; null if it is not delayed. The move continues "
        "automatically."
    )


class ClockStatus(StrEnum):
    """Whether the sandbox clock is moving to a new time."""

    STILL = "still"
    MOVING = "moving"


class ClockRead(ReadModel):
    """The clock of the sandbox.

    After a move, the clock runs at the speed of the machine's clock.

    Attributes:
        now: The current time of the sandbox.
        status: Whether the clock is moving to a new time.
        move: The current or last move; null if the clock was never moved.
    """

    model_config = example(now="2026-12-14T15:00:00.420Z", ahead="P14D")

    now: Instant
    ahead: Duration = Field(
        description="How far the sandbox clock is ahead of the machine's clock."
    )
    status: ClockStatus
    move: ClockMoveRead | None
