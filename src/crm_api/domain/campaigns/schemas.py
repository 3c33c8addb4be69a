"""Request models of the campaign API.

The models store which fields a request contains. So ``model_dump(exclude_unset=True)`` leaves out a
field that is not in a PATCH request, but returns a field that the request sets to null.
"""

from datetime import time
from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, field_validator, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.campaigns.audience.schemas import Audience
from crm_api.domain.campaigns.models import CampaignKind, PacingMode, PreviouslyContacted
from crm_api.domain.campaigns.recurrence import Recurrence
from crm_api.domain.campaigns.schedule import RECIPIENT
from crm_api.domain.campaigns.templates.schemas import Body
from crm_api.domain.campaigns.templates.template_text import remove_unsendable
from crm_api.domain.kit.examples import LINE, LIST, TEXT, example
from crm_api.domain.kit.fields import ClockTime, RequestInstant, Text
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.kit.windows import DAYS
from crm_api.domain.kit.zones import is_time_zone

MAX_FOLLOW_UPS = 10
LONGEST_NAME = 200
LONGEST_FOOTER = 320
DEFAULT_DAILY_LIMIT = 125
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _known_zone(value: str) -> str:
    if value != RECIPIENT and not is_time_zone(value):
        raise PydanticCustomError(
            "unknown_timezone",
            'Unknown time zone. Use an IANA name such as "America/New_York", or "recipient".',
        )
    return value


# Control characters are removed before a value is stored, so that the stored text is also the text
# that is sent.
Name = Annotated[str, Text(shortest=1, longest=LONGEST_NAME, clean=remove_unsendable)]
Footer = Annotated[
    str, Text(shortest=1, longest=LONGEST_FOOTER, has_lines=True, clean=remove_unsendable)
]
Share = Annotated[Decimal, Field(gt=0, le=1, max_digits=5, decimal_places=4)]
"""A share of all messages, above 0 and at most 1. In JSON, it is a string such as "0.05"."""
EVERY_DAY: list[Day] = list(DAYS)


class MessageBody(RequestModel):
    """A message body. A request sets either ``body``, or ``template_id`` to copy a template.

    For a body that was copied from a template, a response contains ``body``, ``template_id`` and
    ``template_version``. A client may send these three fields back together, as it received them.
    """

    body: Body = Field(default="", description="The message body, in Liquid.")
    template_id: UUID | None = Field(
        default=None,
        description="The id of a template whose body is copied now. Later changes of the template "
        "do not change the copy. Set `template_id` instead of `body`.",
    )
    template_version: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Without a `body`: the version of the template to copy, by default the newest. "
        "With a `body`: the version from which the client copied the `body`. It is ignored if the "
        "`body` differs from the body of that version.",
    )

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        is_read_back = bool(self.body) and self.template_version is not None
        if bool(self.body) == (self.template_id is not None) and not is_read_back:
            raise PydanticCustomError("one_text", "Set exactly one of `body` and `template_id`.")
        if self.template_version is not None and self.template_id is None:
            raise PydanticCustomError(
                "version_without_template", "Set `template_id` too if you set `template_version`."
            )
        return self


class Variant(MessageBody):
    """A variant of the first message, and its share of the recipients.

    Attributes:
        name: The name of the variant, unique in its campaign.
        weight: The share of this variant in percent. All weights add up to 100. A variant with
            ``for_known`` has 0.
        for_known: True if the variant is for exactly the people who were in touch with the company
            before. Only ``mixed`` campaigns have one.
    """

    name: Name
    weight: int = Field(ge=0, le=100)
    for_known: StrictBool = False


class WindowFields(RequestModel):
    """The daily hours in which the campaign may send, in the time zone of its schedule.

    Attributes:
        start: The time of day from which messages may be sent.
        end: The time of day until which messages may be sent; later than ``start``.
    """

    start: ClockTime = time(9)
    end: ClockTime = time(18)


class CampaignSchedule(RequestModel):
    """When the campaign may send.

    Attributes:
        start_at: The instant from which the campaign may send; null means when a user starts it.
        end_at: The instant after which the campaign sends nothing; null means no end.
        days: The days of the week on which the campaign may send.
        window: The hours of a day in which the campaign may send.
        timezone: The IANA time zone of ``days`` and ``window``. ``recipient`` means each
            recipient's time zone; null means the line's.
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
            description="The number of hours by which the start may be late, for example because "
            "the service was down. After a longer delay the campaign is paused with the reason "
            "`missed_start`, and a person must resume it.",
        ),
    ] = 24

    @field_validator("days")
    @classmethod
    def _each_once(cls, value: list[Day]) -> list[Day]:
        if len(set(value)) != len(value):
            raise PydanticCustomError("duplicate_day", "List each day only once.")
        return sorted(value, key=DAYS.index)


class Pacing(RequestModel):
    """How many messages the campaign sends a day, and how they are spread over the day.

    Attributes:
        daily_limit: The maximum number of messages that this campaign sends a day.
        mode: ``even`` spreads the messages over the hours of a day; ``burst`` sends batches.
        batch_size: The number of messages in a batch; required for ``burst``.
        batch_interval_minutes: The minutes from batch start to batch start; required for ``burst``.
    """

    daily_limit: int = Field(default=DEFAULT_DAILY_LIMIT, ge=1, le=1_000_000)
    mode: PacingMode = PacingMode.EVEN
    batch_size: int | None = Field(default=None, ge=1, le=100_000)
    batch_interval_minutes: int | None = Field(default=None, ge=1, le=1440)


class FrequencyCap(RequestModel):
    """The maximum number of campaign messages that one phone number gets in a period.

    Attributes:
        texts: The maximum number of messages in the period.
        days: The length of the period, in days.
    """

    texts: int = Field(ge=1, le=100)
    days: int = Field(ge=1, le=365)


class CampaignRules(RequestModel):
    """Which contacts are skipped, how messages are sent, and when the campaign pauses itself.

    Attributes:
        previously_contacted: For contacts that already got a message: ``send``, ``skip``, or
            ``review`` (wait until a user approves).
        min_days_between: The minimum days since another campaign's last message to a number; null
            means no minimum.
        frequency_cap: The maximum of campaign messages to a number in a period, over all campaigns;
            null means no maximum.
        opt_out_footer: The text below each message that says how to opt out; null means none.
        max_attempts: The maximum number of attempts to send one message.
    """

    previously_contacted: PreviouslyContacted = PreviouslyContacted.SEND
    skip_landlines: Annotated[
        bool,
        Field(
            description="If true, the campaign skips phone numbers that are landlines according to "
            "a validation (`POST /v1/phone-validations`). This is checked when the campaign is "
            "started."
        ),
    ] = False
    min_days_between: int | None = Field(default=None, ge=1, le=3650)
    frequency_cap: FrequencyCap | None = None
    opt_out_footer: Footer | None = None
    max_attempts: int = Field(default=5, ge=1, le=20)
    max_opt_out_rate: Annotated[
        Share | None,
        Field(
            description="The allowed share of opt-outs among the messages, from 0 to 1. The "
            "campaign pauses itself when the real share is clearly higher. Null turns the check "
            "off."
        ),
    ] = Decimal("0.05")
    max_failure_rate: Annotated[
        Share | None,
        Field(
            description="The allowed share of failed messages, from 0 to 1. The campaign pauses "
            "itself when the real share is clearly higher. Null turns the check off."
        ),
    ] = Decimal("0.25")


class ABTest(RequestModel):
    """The settings of an A/B test: when variants are compared, and when they are stopped.

    If a variant is stopped, the others share its remaining recipients.

    Attributes:
        min_per_variant: How many messages a variant must have sent before it is compared.
        stop_harmful: True stops a variant when clearly more people opt out after it than after
            another.
        shift_to_winner: True stops all other variants when one gets clearly more replies.
    """

    min_per_variant: int = Field(default=100, ge=20, le=1_000_000)
    stop_harmful: StrictBool = False
    shift_to_winner: StrictBool = False


class FollowUp(MessageBody):
    """A further message to the recipients who have not replied or called.

    Attributes:
        after_hours: The number of hours between the previous message and this follow-up.
    """

    after_hours: float = Field(gt=0, le=8760)


class CampaignCreate(RequestModel):
    """A new campaign. It is a draft until it is started.

    Attributes:
        name: The name of the campaign.
        line_id: The id of the line that sends the messages.
        kind: Whom the campaign is for: people who know the company, people who do not, or both
            (``mixed``).
        audience: The contacts that get the campaign.
        variants: The variants of the first message. Each recipient gets one of them.
        schedule: When the campaign may send.
        pacing: How many messages the campaign sends a day, and how they are spread over the day.
        rules: Which contacts are skipped, and when the campaign pauses itself.
        ab_test: The settings of the A/B test; null means default settings, and no variant is
            stopped.
        follow_ups: Messages to recipients who have not replied or called, in sending order.
        recurrence: How the campaign is repeated; null if it is not repeated.
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
    kind: CampaignKind = CampaignKind.COLD
    audience: Audience
    variants: list[Variant] = Field(min_length=1, max_length=4)
    schedule: CampaignSchedule = Field(default_factory=CampaignSchedule)
    pacing: Pacing = Field(default_factory=Pacing)
    rules: CampaignRules = Field(default_factory=CampaignRules)
    ab_test: ABTest | None = None
    follow_ups: list[FollowUp] = Field(default_factory=list, max_length=MAX_FOLLOW_UPS)
    recurrence: Recurrence | None = None


NEVER_NULL = (
    "name",
    "line_id",
    "kind",
    "audience",
    "variants",
    "schedule",
    "pacing",
    "rules",
    "follow_ups",
    "archived",
)


class CampaignUpdate(RequestModel):
    """Changes to a campaign. Fields that the request leaves out do not change.

    In ``schedule``, ``pacing`` and ``rules``, each inner field can be left out. All other fields
    are replaced as a whole. If the campaign is not a draft, only ``name``, ``archived`` and
    ``recurrence`` can change.

    Attributes:
        name: The name of the campaign.
        line_id: The id of the line that sends the messages.
        kind: Whom the campaign is for: people who know the company, people who do not, or both
            (``mixed``).
        audience: The contacts that get the campaign.
        variants: The variants of the first message. Each recipient gets one of them.
        schedule: When the campaign may send.
        pacing: How many messages the campaign sends a day, and how they are spread over the day.
        rules: Which contacts are skipped, and when the campaign pauses itself.
        ab_test: The settings of the A/B test; null means default settings, and no variant is
            stopped.
        follow_ups: Messages to recipients who have not replied or called, in sending order.
        recurrence: How the campaign is repeated. Null ends the series but keeps its drafts.
        archived: True hides the campaign from lists by default. It still sends messages.
    """

    model_config = example(pacing={"daily_limit": 80})

    name: Name | None = None
    line_id: UUID | None = None
    kind: CampaignKind | None = None
    audience: Audience | None = None
    variants: list[Variant] | None = Field(default=None, min_length=1, max_length=4)
    schedule: CampaignSchedule | None = None
    pacing: Pacing | None = None
    rules: CampaignRules | None = None
    ab_test: ABTest | None = None
    follow_ups: list[FollowUp] | None = Field(default=None, max_length=MAX_FOLLOW_UPS)
    recurrence: Recurrence | None = None
    archived: StrictBool | None = None

    @field_validator(*NEVER_NULL, mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "This field cannot be null. Leave it out instead.")
        return value


class CloneRequest(RequestModel):
    """The options of a copy of a campaign.

    Attributes:
        name: The name of the copy. By default, it is the name of the original, followed by
            ``(copy)``.
    """

    model_config = example(name="Foundation check, January")

    name: Name | None = None
