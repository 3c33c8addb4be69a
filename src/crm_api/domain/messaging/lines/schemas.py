"""Request and response schemas of lines."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Self

from pydantic import Field, StrictBool, StringConstraints

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200, OptionalLine200, PhoneNumber, TimeZoneName
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.lines import (
    DEFAULT_DAILY_LIMIT,
    DEFAULT_TIMEZONE,
    Line,
    LineStatus,
)

HIGHEST_DAILY_LIMIT = 1_000_000
LONGEST_RAMP_DAYS = 60
"""The largest number of days in a ramp plan (the daily limits of a new line on its first days).
Carriers trust a new number after some weeks, so a longer plan has no use."""

DailyLimit = Annotated[
    int,
    Field(
        ge=0,
        le=HIGHEST_DAILY_LIMIT,
        strict=True,
        description="The maximum number of messages that the line sends per day. When this number "
        "is reached, campaign messages wait until the next day. Other messages count too, but they "
        "are still sent.",
    ),
]
RampDay = Annotated[int, Field(ge=1, le=HIGHEST_DAILY_LIMIT, strict=True)]
RampPlan = Annotated[
    list[RampDay] | None,
    Field(
        min_length=1,
        max_length=LONGEST_RAMP_DAYS,
        examples=[[20, 40, 80, 125]],
        description="The daily limits of the first days of a new line. The first entry applies to "
        "the day of the first campaign message after the plan was set, the next entry to the day "
        "after that day, and so on. After the last entry, `daily_limit` applies. A day's limit is "
        "never above `daily_limit`. If the plan is set again, it starts from its first entry.",
    ),
]


class LineCreate(RequestModel):
    """A phone number of the provider's workspace to add as a line.

    Attributes:
        number: The phone number of the line, in E.164.
        timezone: The IANA time zone in which the line's day begins and ends.
    """

    model_config = example(
        phone_number_id="PNq7x1Zk3v", number="+16175550100", name="Main line", daily_limit=125
    )

    phone_number_id: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$"),
        Field(description="The provider's id of the phone number. It begins with `PN`."),
    ]
    number: PhoneNumber
    name: Annotated[
        OptionalLine200,
        Field(description="The name of the line. If omitted, the name is the phone number."),
    ] = None
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    ramp_plan: RampPlan = None
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: Annotated[
        bool | None,
        Field(
            description="What happens if it is unclear whether a message was sent, and the "
            "provider's list does not contain the message. If true, the service sends the message "
            "again. If false, a user decides. If omitted, the setting `CRM_UNCLEAR_SENDS` "
            "applies."
        ),
    ] = None


class LineUpdate(RequestModel):
    """The fields of a line to change. An omitted field keeps its value.

    Attributes:
        name: The name of the line.
        timezone: The IANA time zone in which the line's day begins and ends.
        resend_unclear: Whether to send an unclear message again if the provider's list does not
            contain it. If false, a user decides.
    """

    model_config = example(daily_limit=200)

    name: Name200 = ""
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    ramp_plan: RampPlan = None
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: StrictBool = True


@dataclass(frozen=True)
class CountedLine:
    """A line, its limit for today, and the number of messages that count towards this limit.

    ``sent_today`` counts the messages that the provider accepted or may have accepted. Today is the
    current day in the line's time zone.
    """

    line: Line
    limit_today: int
    sent_today: int


class LineRead(ReadModel):
    """A line: one of the company's phone numbers at the provider, with its limits and counts.

    Attributes:
        phone_number_id: The provider's id of the phone number. It begins with `PN`.
        number: The phone number of the line, in E.164.
        name: The name of the line.
        daily_limit: The limit of messages per day. All messages count. At the limit, only campaign
            messages wait for the next day.
        ramp_plan: The limits of the first days, beginning with the first campaign message after the
            plan was set. A limit above `daily_limit` has no effect. Null if there is no plan.
        timezone: The IANA time zone in which the line's day begins and ends.
        status: The state of the line.
        blocked_reason: Why the line is blocked, and what to do; null if it is not blocked.
        resend_unclear: Whether to send an unclear message again if the provider's list does not
            contain it. If false, a user decides.
        sent_today: How many messages the provider accepted, or may have accepted, today in the
            line's time zone.
        remaining_today: The number of campaign messages that the line may still send today.
    """

    model_config = example(
        phone_number_id="PNq7x1Zk3v",
        number="+16175550100",
        name="Main line",
        daily_limit=125,
        limit_today=125,
        resend_unclear=True,
        sent_today=120,
        remaining_today=5,
    )

    id: Id
    phone_number_id: str
    number: str
    name: str
    daily_limit: int
    ramp_plan: list[int] | None
    ramp_started_on: Annotated[
        date | None,
        Field(
            description="The first day of the `ramp_plan`, in the line's time zone; null before "
            "the plan's first campaign message."
        ),
    ]
    limit_today: Annotated[
        int,
        Field(
            description="The maximum number of messages today: the `daily_limit`, or a smaller "
            "number from the `ramp_plan`."
        ),
    ]
    timezone: str
    status: Annotated[str, Vocabulary(LineStatus)]
    blocked_reason: str | None
    is_probing: Annotated[
        bool,
        Field(
            description="Whether the line is on trial after a block. A line on trial sends one "
            "message at a time until the provider accepts one."
        ),
    ]
    probe_at: Annotated[
        Instant | None,
        Field(
            description="If the line is blocked, this is when its trial will begin; null if only a "
            "user can unblock the line. If the line is on trial, this is when the trial began."
        ),
    ]
    resend_unclear: bool
    sent_today: int
    remaining_today: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: CountedLine) -> Self:
        """Build the response for a line and its counts of today."""
        line = found.line
        return cls(
            id=line.id,
            phone_number_id=line.phone_number_id,
            number=line.number,
            name=line.name,
            daily_limit=line.daily_limit,
            ramp_plan=line.ramp_plan,
            ramp_started_on=line.ramp_started_on,
            limit_today=found.limit_today,
            timezone=line.timezone,
            status=line.status,
            blocked_reason=line.blocked_reason,
            is_probing=line.is_probing,
            probe_at=line.probe_at,
            resend_unclear=line.resend_unclear,
            sent_today=found.sent_today,
            remaining_today=max(0, found.limit_today - found.sent_today),
            created_at=line.created_at,
            updated_at=line.updated_at,
        )
