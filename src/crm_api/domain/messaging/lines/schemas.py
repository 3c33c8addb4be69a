"""Schemas of lines, in and out."""

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
"""Carriers trust a new number after some weeks. A longer plan would only be a daily limit."""

DailyLimit = Annotated[
    int, Field(ge=0, le=HIGHEST_DAILY_LIMIT, strict=True, description="Campaign messages a day.")
]
RampDay = Annotated[int, Field(ge=1, le=HIGHEST_DAILY_LIMIT, strict=True)]
RampPlan = Annotated[
    list[RampDay] | None,
    Field(
        min_length=1,
        max_length=LONGEST_RAMP_DAYS,
        examples=[[20, 40, 80, 125]],
        description="Limits of the first days of a new number, one for each day from its first "
        "campaign message on. Afterwards `daily_limit` applies; it is also the upper bound of each "
        "day. Setting the plan starts it again.",
    ),
]


class LineCreate(RequestModel):
    """A number of the provider's workspace that may send.

    Attributes:
        number: The phone number of the line, in E.164.
    """

    model_config = example(
        phone_number_id="PNq7x1Zk3v", number="+16175550100", name="Main line", daily_limit=125
    )

    phone_number_id: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$"),
        Field(description="The provider's id, `PN…`."),
    ]
    number: PhoneNumber
    name: Annotated[OptionalLine200, Field(description="Default: the number.")] = None
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    ramp_plan: RampPlan = None
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: Annotated[
        bool | None, Field(description="Default: the setting `CRM_UNCLEAR_SENDS`.")
    ] = None


class LineUpdate(RequestModel):
    """The fields to change; a field that is left out does not change.

    Attributes:
        resend_unclear: Whether a message that was not found at the provider is sent again.
    """

    model_config = example(daily_limit=200)

    name: Name200 = ""
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    ramp_plan: RampPlan = None
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: StrictBool = True


@dataclass(frozen=True)
class CountedLine:
    """A line, its limit of today, and the messages of today that may have been accepted."""

    line: Line
    limit_today: int
    sent_today: int


class LineRead(ReadModel):
    """A line, its limit, and how many messages it may still send today in its time zone.

    Attributes:
        phone_number_id: The id of the line at the provider.
        number: The phone number of the line, in E.164.
        daily_limit: The maximum number of messages a day; null without a limit.
        ramp_plan: How many messages a new line may send on each day.
        blocked_reason: Why it is blocked, and what to do; null otherwise.
        resend_unclear: Whether a message that was not found at the provider is sent again.
        sent_today: The number of messages that were sent today.
        remaining_today: The number of messages that may still be sent today.
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
    ramp_started_on: Annotated[date | None, Field(description="In the line's time zone.")]
    limit_today: Annotated[int, Field(description="`daily_limit`, or less during the `ramp_plan`.")]
    timezone: str
    status: Annotated[str, Vocabulary(LineStatus)]
    blocked_reason: str | None
    is_probing: Annotated[
        bool,
        Field(description="On trial after a block: one message at a time until one is accepted."),
    ]
    probe_at: Annotated[
        Instant | None,
        Field(description="When a blocked line goes on trial; on trial: when the trial began."),
    ]
    resend_unclear: bool
    sent_today: int
    remaining_today: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: CountedLine) -> Self:
        """Build the response for a line."""
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
