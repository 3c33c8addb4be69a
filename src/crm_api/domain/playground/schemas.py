"""What a developer orders of the sandbox, and what it answers."""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from crm_api.domain.fields import PhoneNumber, RequestInstant, refuse_nul
from crm_api.domain.phone import InvalidPhoneError, parse_phone
from crm_api.domain.playground.durations import Duration
from crm_api.domain.schemas import Instant, ReadModel, RequestModel

_BEGINNING = re.compile(r"(\+[0-9]{1,14})?\*")
MOST_STEPS = 20


def _read_phones(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, str) and _BEGINNING.fullmatch(value):
        return value
    try:
        return parse_phone(value) if isinstance(value, str) else _refuse_phones()
    except InvalidPhoneError:
        return _refuse_phones()


def _refuse_phones() -> str:
    raise PydanticCustomError(
        "invalid_phone",
        'Give a phone number, the beginning of some and a star such as "+1617555*", or "*" for '
        "everybody.",
    )


Phones = Annotated[
    str,
    BeforeValidator(_read_phones),
    WithJsonSchema({"type": "string", "example": "+16175550123"}),
]
"""One number, or the beginning of some and a star; ``*`` is everybody."""


class Act(StrEnum):
    """What a person, or their network, does with a text."""

    DELIVER = "deliver"
    FAIL = "fail"
    UNDELIVER = "undeliver"
    REPLY = "reply"
    CALL = "call"


class Behaviour(StrEnum):
    """Scripts with a name."""

    REPLIES = "replies"
    STOPS = "stops"
    SILENT = "silent"
    CALLS = "calls"
    LANDLINE = "landline"
    UNDELIVERED = "undelivered"
    UNREACHED = "unreached"


class PersonStep(RequestModel):
    """One thing that happens, so long after a text was accepted."""

    do: Act = Field(
        description="`deliver`, `fail` and `undeliver` say what becomes of the text; `reply` "
        "texts back, `call` rings the line."
    )
    after: Duration = Field(
        default=timedelta(seconds=1), description="How long after the text was accepted."
    )
    text: Annotated[
        str, StringConstraints(min_length=1, max_length=1600), AfterValidator(refuse_nul)
    ] = Field(default="OK", description="Of a reply.")
    error_code: Annotated[str, StringConstraints(pattern="^[0-9]{1,10}$")] | None = Field(
        default=None, description="The carrier's reason of a text that failed."
    )
    times: int = Field(
        default=1, ge=1, le=5, description="How often its webhook comes, as providers repeat."
    )
    on_text: int | None = Field(
        default=None, ge=1, le=1000, description="Only on the number's first, second … text."
    )
    answered: bool = Field(strict=True, default=True, description="Of a call: somebody took it.")


class PersonScript(RequestModel):
    """Who does what when a text comes: a behaviour by name, or step by step."""

    phone: Phones = Field(
        description="A number, the beginning of some and a star (`+1617555*`), or `*`. The most "
        "exact one counts."
    )
    behaviour: Behaviour | None = Field(
        default=None,
        description="`replies` and `stops` answer the first text, `calls` rings back, `silent` "
        "only gets it, a `landline` fails, `undelivered` comes back, of `unreached` nothing is "
        "ever heard.",
    )
    script: list[PersonStep] | None = Field(
        default=None, max_length=MOST_STEPS, description="What happens on each text."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.behaviour is None) == (self.script is None):
            raise PydanticCustomError("either", "Give either `behaviour` or `script`.")
        return self


class PersonScriptRead(ReadModel):
    """What a number does on each text."""

    phone: str
    script: list[PersonStep]


class FaultKind(StrEnum):
    """What goes wrong; *after* means that the text was accepted all the same."""

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
        """True when it befalls what the provider tells, not what it is asked."""
        return self.startswith("webhook_")


class FaultCreate(RequestModel):
    """An order that something goes wrong: so many times, or so often of a hundred."""

    kind: FaultKind = Field(
        description="An answer of the provider, a broken connection, or a webhook that is lost, "
        "late or comes twice. After `_after` the text was accepted all the same."
    )
    on: Literal["send", "read"] = Field(
        default="send", description="Whether sends or look-ups fail; webhooks have their own kinds."
    )
    phone: PhoneNumber | None = Field(default=None, description="Only for this person.")
    count: int | None = Field(
        default=None, ge=1, le=1_000_000, description="So many times; once when nothing is said."
    )
    percent: int | None = Field(
        default=None, ge=1, le=100, description="So often of a hundred, until it is cleared."
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
    """An order that stands.

    Attributes:
        count: How many times it is still to happen; null lasts until it is cleared.
    """

    kind: FaultKind
    on: Literal["send", "read", "webhook"]
    phone: str | None
    count: int | None
    percent: int | None
    retry_after_seconds: int | None
    delay: Duration


class ClockMove(RequestModel):
    """Where time is to go: so far, or to an instant."""

    advance: Duration | None = Field(default=None, description="How far, from now.")
    to: RequestInstant | None = Field(default=None, description="An instant after now.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.advance is None) == (self.to is None):
            raise PydanticCustomError("either", "Give either `advance` or `to`.")
        return self


class ClockMoveRead(ReadModel):
    """The move under way, or the last one."""

    from_at: Instant
    to_at: Instant
    stops: int = Field(description="How often time has stopped on the way, to do what was due.")
    failure: str | None = Field(description="What holds it up; it is tried again.")


class ClockStatus(StrEnum):
    """Whether time is being moved."""

    STILL = "still"
    MOVING = "moving"


class ClockRead(ReadModel):
    """What time it is in the sandbox; it goes on as time does, from wherever it was moved to."""

    now: Instant
    ahead: Duration = Field(description="How far ahead of the machine's clock.")
    status: ClockStatus
    move: ClockMoveRead | None
