"""Own lines in and out."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Self

from pydantic import Field, StrictBool, StringConstraints

from crm_api.domain.fields import Name200, OptionalLine200, PhoneNumber, TimeZoneName
from crm_api.domain.lines.models import DEFAULT_DAILY_LIMIT, DEFAULT_TIMEZONE, Line
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

HIGHEST_DAILY_LIMIT = 1_000_000
LONGEST_RAMP_DAYS = 60
"""Carriers trust a new number after weeks; a longer plan is a daily limit by another name."""

DailyLimit = Annotated[
    int, Field(ge=0, le=HIGHEST_DAILY_LIMIT, strict=True, description="Campaign texts a day.")
]
RampDay = Annotated[int, Field(ge=1, le=HIGHEST_DAILY_LIMIT, strict=True)]
RampPlan = Annotated[
    list[RampDay] | None,
    Field(
        min_length=1,
        max_length=LONGEST_RAMP_DAYS,
        examples=[[20, 40, 80, 125]],
        description="Limits of the first days of a new number, day by day from its first campaign "
        "text on; then `daily_limit` holds, which no day exceeds. Setting it starts it anew.",
    ),
]


class LineCreate(RequestModel):
    """A number of the provider's workspace that may send."""

    phone_number_id: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$"),
        Field(description="The provider's id, `PN…`."),
    ]
    number: PhoneNumber
    name: Annotated[OptionalLine200, Field(description="The number, when left out.")] = None
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    ramp_plan: RampPlan = None
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: Annotated[
        bool | None, Field(description="The setting `CRM_UNCLEAR_SENDS`, when left out.")
    ] = None


class LineUpdate(RequestModel):
    """What changes; a field left out stays."""

    name: Name200 = ""
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    ramp_plan: RampPlan = None
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: StrictBool = True


@dataclass(frozen=True)
class CountedLine:
    """A line, what it allows today, and what it may have had accepted of that."""

    line: Line
    limit_today: int
    sent_today: int


class LineRead(ReadModel):
    """An own number, its limit, and what it has left today in its time zone."""

    id: Id
    phone_number_id: str
    number: str
    name: str
    daily_limit: int
    ramp_plan: list[int] | None
    ramp_started_on: Annotated[date | None, Field(description="In the line's time zone.")]
    limit_today: Annotated[
        int, Field(description="`daily_limit`, or less while `ramp_plan` is under way.")
    ]
    timezone: str
    status: str
    blocked_reason: str | None
    is_probing: Annotated[
        bool, Field(description="On trial after a block: one text at a time until one is accepted.")
    ]
    probe_at: Annotated[
        Instant | None,
        Field(description="When a blocked line goes on trial; of one on trial: since when it is."),
    ]
    resend_unclear: bool
    sent_today: int
    remaining_today: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: CountedLine) -> Self:
        """Shape a line."""
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
