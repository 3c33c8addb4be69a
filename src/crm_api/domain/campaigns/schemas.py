"""Request models of the campaign API.

Requests leave out what they do not set; with ``exclude_unset`` a PATCH can distinguish a missing
field from null.
"""

from datetime import time
from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from crm_api.domain.campaigns.models import PacingMode, PreviouslyContacted
from crm_api.domain.campaigns.schedule import RECIPIENT
from crm_api.domain.campaigns.templates.schemas import Body
from crm_api.domain.campaigns.templates.template_text import remove_unsendable
from crm_api.domain.kit.examples import LINE, LIST, TEXT, example
from crm_api.domain.kit.fields import ClockTime, RequestInstant, Text
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.kit.windows import DAYS
from crm_api.domain.kit.zones import is_time_zone

MAX_CONTACT_IDS = 10_000
MAX_SOURCES = 50
"""Lists, or campaigns, that one audience may exclude."""
MAX_SEGMENTS = 10
"""Segments that one audience may exclude."""
MAX_FOLLOW_UPS = 10
LONGEST_NAME = 200
LONGEST_FOOTER = 320
DEFAULT_DAILY_LIMIT = 125
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _known_zone(value: str) -> str:
    if value != RECIPIENT and not is_time_zone(value):
        raise PydanticCustomError(
            "unknown_timezone", 'Give an IANA time zone such as "America/New_York", or "recipient".'
        )
    return value


# Characters that phones do not show are dropped when saved: what is stored is what is sent.
Name = Annotated[str, Text(shortest=1, longest=LONGEST_NAME, clean=remove_unsendable)]
Footer = Annotated[
    str, Text(shortest=1, longest=LONGEST_FOOTER, has_lines=True, clean=remove_unsendable)
]
Share = Annotated[Decimal, Field(gt=0, le=1, max_digits=5, decimal_places=4)]
"""A share of all messages: a string such as "0.05"."""
EVERY_DAY: list[Day] = list(DAYS)  # type: ignore[arg-type]  # the same seven, typed as a tuple of str


class Exclusion(RequestModel):
    """People of the audience who are left out.

    Attributes:
        list_ids: The ids of lists whose contacts are left out.
        segment_ids: Everyone who is in one of these at the start.
        campaign_ids: Every recipient of one of these, at any step, who was neither skipped nor
            cancelled there.
    """

    list_id: UUID | None = None
    list_ids: list[UUID] | None = Field(default=None, max_length=MAX_SOURCES)
    segment_ids: list[UUID] | None = Field(default=None, max_length=MAX_SEGMENTS)
    campaign_ids: list[UUID] | None = Field(default=None, max_length=MAX_SOURCES)
    contact_ids: list[UUID] | None = Field(default=None, max_length=MAX_CONTACT_IDS)


class Audience(RequestModel):
    """The people of a campaign: exactly one of a list, a segment, or contacts by id.

    Attributes:
        exclude: The contacts of the audience that are left out.
    """

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


class MessageBody(RequestModel):
    """The body of a message, or a template to copy it from; exactly one of both."""

    body: Body = Field(default="", description="Liquid.")
    template_id: UUID | None = Field(
        default=None,
        exclude=True,
        description="Instead of `body`: the template's body is copied now; later changes of "
        "the template have no effect.",
    )

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        if bool(self.body) == (self.template_id is not None):
            raise PydanticCustomError("one_text", "Give exactly one of body and template_id.")
        return self


class Variant(MessageBody):
    """A variant and its share of the recipients, in percent.

    Attributes:
        weight: The share of the recipients, in percent.
    """

    name: Name
    weight: int = Field(ge=0, le=100)


class WindowFields(RequestModel):
    """The hours of the day, local to the schedule's time zone.

    Attributes:
        start: The time of day at which it begins.
        end: The time of day at which it ends.
    """

    start: ClockTime = time(9)
    end: ClockTime = time(18)


class CampaignSchedule(RequestModel):
    """When the campaign may send.

    Attributes:
        start_at: When the campaign starts; null means at once.
        end_at: When the campaign ends; null without an end.
        days: The days of the week.
        window: The hours in which messages are sent.
    """

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
            description="Hours. A start that was missed by more than this, because the service was "
            "down, waits for a person: the campaign is paused with the reason `missed_start`.",
        ),
    ] = 24

    @field_validator("days")
    @classmethod
    def _each_once(cls, value: list[Day]) -> list[Day]:
        if len(set(value)) != len(value):
            raise PydanticCustomError("duplicate_day", "Name each day once.")
        return sorted(value, key=DAYS.index)


class Pacing(RequestModel):
    """How the messages of a day are spread.

    Attributes:
        daily_limit: The maximum number of messages a day; null without a limit.
        mode: How the messages of a day are spread.
        batch_size: The number of messages in a batch.
        batch_interval_minutes: Minutes between two batches.
    """

    daily_limit: int = Field(default=DEFAULT_DAILY_LIMIT, ge=1, le=1_000_000)
    mode: PacingMode = PacingMode.EVEN
    batch_size: int | None = Field(default=None, ge=1, le=100_000)
    batch_interval_minutes: int | None = Field(default=None, ge=1, le=1440)


class FrequencyCap(RequestModel):
    """At most this many campaign messages to a number in this many days, over all campaigns.

    Attributes:
        texts: The maximum number of messages in the period.
        days: The period, in days.
    """

    texts: int = Field(ge=1, le=100)
    days: int = Field(ge=1, le=365)


class CampaignRules(RequestModel):
    """Who is left out, how often a message is repeated, and when the campaign pauses itself.

    Attributes:
        previously_contacted: What happens to contacts that got messages before.
        min_days_between: The minimum number of days between two messages to one contact.
        frequency_cap: How many messages a contact may get in a period, over all campaigns.
        opt_out_footer: The words at the end of each message that say how to opt out.
        max_attempts: The maximum number of attempts for a message.
    """

    previously_contacted: PreviouslyContacted = PreviouslyContacted.SEND
    skip_landlines: Annotated[
        bool,
        Field(
            description="Leave out numbers that a validation (`POST /v1/phone-validations`) has "
            "found to be landlines, when the audience is stored."
        ),
    ] = False
    min_days_between: int | None = Field(default=None, ge=1, le=3650)
    frequency_cap: FrequencyCap | None = None
    opt_out_footer: Footer | None = None
    max_attempts: int = Field(default=5, ge=1, le=20)
    max_opt_out_rate: Annotated[
        Share | None, Field(description="Opt-outs per message; null: not checked.")
    ] = Decimal("0.05")
    max_failure_rate: Annotated[
        Share | None, Field(description="Failed messages per message; null: not checked.")
    ] = Decimal("0.25")


class ABTest(RequestModel):
    """How variants are compared, and what the service does with the result; null only compares.

    Attributes:
        min_per_variant: The number of messages of each variant before the test decides.
        stop_harmful: Whether a harmful variant is stopped.
        shift_to_winner: Whether the rest of the audience gets the better variant.
    """

    min_per_variant: int = Field(default=100, ge=20, le=1_000_000)
    stop_harmful: StrictBool = False
    shift_to_winner: StrictBool = False


class FollowUp(MessageBody):
    """A further message to recipients who did not reply to the one before.

    Attributes:
        after_hours: Hours after the previous message.
    """

    after_hours: float = Field(gt=0, le=8760)


class CampaignCreate(RequestModel):
    """A new campaign; it starts as a draft.

    Attributes:
        audience: The contacts that get the campaign.
        schedule: When the campaign sends.
        pacing: How messages are spread over a day.
        rules: The limits of the campaign, and when it pauses itself.
        follow_ups: The messages to recipients who did not reply, in order.
    """

    model_config = example(
        name="Foundation check, December",
        line_id=LINE,
        audience={"list_id": LIST},
        variants=[
            {"name": "Short", "body": TEXT, "weight": 50},
            {
                "name": "With the year",
                "body": (
                    'Hi {{ first_name | default: "there" }}, Granite Foundations here. Houses of '
                    "{{ attributes.year_built }} often have cracks; we look at yours for free. "
                    "Reply STOP to opt out."
                ),
                "weight": 50,
            },
        ],
        schedule={
            "start_at": "2026-11-30T09:00:00-05:00",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "window": {"start": "09:00", "end": "18:00"},
            "timezone": "America/New_York",
        },
        pacing={"daily_limit": 125, "mode": "even"},
        rules={"previously_contacted": "skip", "min_days_between": 30},
        follow_ups=[
            {
                "after_hours": 48,
                "body": "Hi {{ first_name }}, may we still come by? Reply STOP to opt out.",
            }
        ],
    )

    name: Name
    line_id: UUID
    audience: Audience
    variants: list[Variant] = Field(min_length=1, max_length=4)
    schedule: CampaignSchedule = Field(default_factory=CampaignSchedule)
    pacing: Pacing = Field(default_factory=Pacing)
    rules: CampaignRules = Field(default_factory=CampaignRules)
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

    Attributes:
        audience: The contacts that get the campaign.
        schedule: When the campaign sends.
        pacing: How messages are spread over a day.
        rules: The limits of the campaign, and when it pauses itself.
        follow_ups: The messages to recipients who did not reply, in order.
    """

    model_config = example(pacing={"daily_limit": 80})

    name: Name | None = None
    line_id: UUID | None = None
    audience: Audience | None = None
    variants: list[Variant] | None = Field(default=None, min_length=1, max_length=4)
    schedule: CampaignSchedule | None = None
    pacing: Pacing | None = None
    rules: CampaignRules | None = None
    ab_test: ABTest | None = None
    follow_ups: list[FollowUp] | None = Field(default=None, max_length=MAX_FOLLOW_UPS)

    @field_validator(*NEVER_NULL, mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "Leave the field out instead of sending null.")
        return value


class CloneRequest(RequestModel):
    """The name of the copy; if left out, the original's name with ``(copy)``."""

    model_config = example(name="Foundation check, January")

    name: Name | None = None
