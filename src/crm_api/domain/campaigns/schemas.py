"""What a request about campaigns may say; the answers are in ``answers.py``.

Requests leave out what they do not set; ``exclude_unset`` then tells a PATCH apart from a null.
"""

from collections.abc import Callable
from datetime import time
from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from crm_api.domain.campaigns.models import PacingMode, PreviouslyContacted
from crm_api.domain.campaigns.schedule import RECIPIENT
from crm_api.domain.campaigns.template import MAX_TEXT, sendable
from crm_api.domain.fields import ClockTime, PhoneNumber, RequestInstant
from crm_api.domain.schemas import RequestModel
from crm_api.domain.windows import DAYS
from crm_api.domain.zones import is_time_zone

MAX_CONTACT_IDS = 10_000
MAX_SAMPLES = 50
MAX_SOURCES = 50
"""Lists, or campaigns, that one audience may leave out."""
MAX_SEGMENTS = 10
"""Segments that one audience may leave out."""
MAX_FOLLOW_UPS = 10
LONGEST_NAME = 200
LONGEST_FOOTER = 320
DEFAULT_DAILY_LIMIT = 125
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _sendable_line(text: str) -> str:
    return " ".join(sendable(text).splitlines())


def _cleaned(longest: int, clean: Callable[[str], str] = sendable) -> BeforeValidator:
    """Drop control characters before lengths are counted: what is stored is what is sent.

    What is too long before that stays as it is and is refused, as the document says.
    """

    def clean_text(value: object) -> object:
        return clean(value) if isinstance(value, str) and len(value) <= longest else value

    return BeforeValidator(clean_text)


def _known_zone(value: str) -> str:
    if value != RECIPIENT and not is_time_zone(value):
        raise PydanticCustomError(
            "unknown_timezone", 'Give an IANA time zone such as "America/New_York", or "recipient".'
        )
    return value


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_NAME),
    _cleaned(LONGEST_NAME, _sendable_line),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), _cleaned(MAX_TEXT)]
Footer = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_FOOTER), _cleaned(LONGEST_FOOTER)
]
Share = Annotated[Decimal, Field(gt=0, le=1, max_digits=5, decimal_places=4)]
"""Of all texts: a string such as "0.05"."""
EVERY_DAY: list[Day] = list(DAYS)  # type: ignore[arg-type]  # the same seven, typed as a tuple of str


class Exclusion(RequestModel):
    """Who of the audience is left out.

    Attributes:
        segment_ids: Whoever is in one of these at the start.
        campaign_ids: Whoever is a recipient of one of these, at any step, and was neither skipped
            nor cancelled there.
    """

    list_id: UUID | None = None
    list_ids: list[UUID] | None = Field(default=None, max_length=MAX_SOURCES)
    segment_ids: list[UUID] | None = Field(default=None, max_length=MAX_SEGMENTS)
    campaign_ids: list[UUID] | None = Field(default=None, max_length=MAX_SOURCES)
    contact_ids: list[UUID] | None = Field(default=None, max_length=MAX_CONTACT_IDS)


class Audience(RequestModel):
    """Who gets it: exactly one of a list, a segment, or contacts by id."""

    list_id: UUID | None = None
    segment_id: UUID | None = None
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)
    exclude: Exclusion | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Audience":
        given = [self.list_id, self.segment_id, self.contact_ids]
        if sum(source is not None for source in given) != 1:
            raise PydanticCustomError(
                "one_audience", "Give exactly one of list_id, segment_id and contact_ids."
            )
        return self


class Wording(RequestModel):
    """A text: its own, or a copy of a saved one; exactly one of the two."""

    body: Text = Field(default="", description="Liquid.")
    template_id: UUID | None = Field(
        default=None,
        exclude=True,
        description="Instead of `body`: the saved text is copied now, later changes of it are not.",
    )

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        if bool(self.body) == (self.template_id is not None):
            raise PydanticCustomError("one_text", "Give exactly one of body and template_id.")
        return self


class Variant(Wording):
    """One wording and its share of the recipients, in percent."""

    name: Name
    weight: int = Field(ge=0, le=100)


class WindowFields(RequestModel):
    """The hours of the day, local to the schedule's time zone."""

    start: ClockTime = time(9)
    end: ClockTime = time(18)


class Schedule(RequestModel):
    """When it may send."""

    start_at: RequestInstant | None = None
    end_at: RequestInstant | None = None
    days: list[Day] = Field(default=EVERY_DAY, min_length=1, max_length=7)
    window: WindowFields = Field(default_factory=WindowFields)
    timezone: Annotated[str, AfterValidator(_known_zone)] | None = None
    start_grace_hours: Annotated[
        int,
        Field(
            ge=1,
            le=8760,
            description="A start that was missed by more than this, because the service was down, "
            "waits for a person: the campaign is paused with the reason `missed_start`.",
        ),
    ] = 24

    @field_validator("days")
    @classmethod
    def _each_once(cls, value: list[Day]) -> list[Day]:
        if len(set(value)) != len(value):
            raise PydanticCustomError("duplicate_day", "Name each day once.")
        return sorted(value, key=DAYS.index)


class Pacing(RequestModel):
    """How the texts of a day are spread."""

    daily_limit: int = Field(default=DEFAULT_DAILY_LIMIT, ge=1, le=1_000_000)
    mode: PacingMode = PacingMode.EVEN
    batch_size: int | None = Field(default=None, ge=1, le=100_000)
    batch_interval_minutes: int | None = Field(default=None, ge=1, le=1440)


class FrequencyCap(RequestModel):
    """At most so many campaign texts to a number in so many days, over all campaigns."""

    texts: int = Field(ge=1, le=100)
    days: int = Field(ge=1, le=365)


class Rules(RequestModel):
    """What is left out, repeated, or added, and what pauses the campaign by itself."""

    previously_contacted: PreviouslyContacted = PreviouslyContacted.SEND
    skip_landlines: Annotated[
        bool,
        Field(
            description="Leave out numbers that a validation (`POST /v1/phone-validations`) has "
            "found to be landlines, when the audience is written down."
        ),
    ] = False
    min_days_between: int | None = Field(default=None, ge=1, le=3650)
    frequency_cap: FrequencyCap | None = None
    opt_out_footer: Footer | None = None
    max_attempts: int = Field(default=5, ge=1, le=20)
    max_opt_out_rate: Annotated[
        Share | None, Field(description="Opt-outs per text; null: not watched.")
    ] = Decimal("0.05")
    max_failure_rate: Annotated[
        Share | None, Field(description="Failed texts per text; null: not watched.")
    ] = Decimal("0.25")


class ABTest(RequestModel):
    """How the wordings are compared, and what follows by itself; null: only shown."""

    min_per_variant: int = Field(default=100, ge=20, le=1_000_000)
    stop_harmful: StrictBool = False
    shift_to_winner: StrictBool = False


class FollowUp(Wording):
    """A further text to whoever has not answered the one before."""

    after_hours: float = Field(gt=0, le=8760)


class CampaignCreate(RequestModel):
    """A new campaign; it starts as a draft."""

    name: Name
    line_id: UUID
    audience: Audience
    variants: list[Variant] = Field(min_length=1, max_length=4)
    schedule: Schedule = Field(default_factory=Schedule)
    pacing: Pacing = Field(default_factory=Pacing)
    rules: Rules = Field(default_factory=Rules)
    ab_test: ABTest | None = None
    follow_ups: list[FollowUp] = Field(default_factory=list, max_length=MAX_FOLLOW_UPS)


NEVER_NULL = (
    "name",
    "line_id",
    "audience",
    "variants",
    "schedule",
    "pacing",
    "rules",
    "follow_ups",
)


class CampaignUpdate(RequestModel):
    """Changes to a draft; what is left out stays, also inside schedule, pacing and rules.

    ``audience`` and ``variants`` are replaced as a whole.
    """

    name: Name | None = None
    line_id: UUID | None = None
    audience: Audience | None = None
    variants: list[Variant] | None = Field(default=None, min_length=1, max_length=4)
    schedule: Schedule | None = None
    pacing: Pacing | None = None
    rules: Rules | None = None
    ab_test: ABTest | None = None
    follow_ups: list[FollowUp] | None = Field(default=None, max_length=MAX_FOLLOW_UPS)

    @field_validator(*NEVER_NULL, mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "Leave the field out instead of sending null.")
        return value


class PreviewRequest(RequestModel):
    """What of the audience a preview shows in full; the sums are always over all of it.

    Attributes:
        limit: How many texts are shown.
        contact_ids: These people of the audience instead of its first ones; ``limit`` is then
            not looked at.
    """

    limit: int = Field(default=10, ge=1, le=MAX_SAMPLES)
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_SAMPLES)


class DraftPreview(CampaignCreate, PreviewRequest):
    """A campaign that is not stored, and what of its audience to show."""


class CloneRequest(RequestModel):
    """What a copy is called; left out, the name of the original with ``(copy)``."""

    name: Name | None = None


class TrialRequest(RequestModel):
    """Which own line gets a test text, and which wording; left out, the first."""

    to: PhoneNumber
    variant: str | None = None


class ReviewRequest(RequestModel):
    """A decision about people who were texted before: about these, or about all in review."""

    decision: Literal["approve", "reject"]
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.contact_ids is None) == (self.all is None):
            raise PydanticCustomError(
                "whom", 'Say about whom: give exactly one of contact_ids and "all": true.'
            )
        return self


class SettleRequest(RequestModel):
    """What a person found out about a send that waits for a decision."""

    outcome: Literal["sent", "resend", "failed"]
