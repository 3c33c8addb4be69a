"""Own lines in and out."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from crm_api.domain.fields import Name200, OptionalLine200, PhoneNumber, TimeZoneName
from crm_api.domain.lines.models import DEFAULT_DAILY_LIMIT, DEFAULT_TIMEZONE, Line
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

HIGHEST_DAILY_LIMIT = 1_000_000

DailyLimit = Annotated[
    int, Field(ge=0, le=HIGHEST_DAILY_LIMIT, strict=True, description="Campaign texts a day.")
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
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: Annotated[
        bool | None, Field(description="The setting `CRM_UNCLEAR_SENDS`, when left out.")
    ] = None


class LineUpdate(RequestModel):
    """What changes; a field left out stays."""

    name: Name200 = ""
    daily_limit: DailyLimit = DEFAULT_DAILY_LIMIT
    timezone: TimeZoneName = DEFAULT_TIMEZONE
    resend_unclear: bool = True


@dataclass(frozen=True)
class CountedLine:
    """A line and what it may have had accepted today."""

    line: Line
    sent_today: int


class LineRead(ReadModel):
    """An own number, its limit, and what it has left today in its time zone."""

    id: Id
    phone_number_id: str
    number: str
    name: str
    daily_limit: int
    timezone: str
    status: str
    blocked_reason: str | None
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
            timezone=line.timezone,
            status=line.status,
            blocked_reason=line.blocked_reason,
            resend_unclear=line.resend_unclear,
            sent_today=found.sent_today,
            remaining_today=max(0, line.daily_limit - found.sent_today),
            created_at=line.created_at,
            updated_at=line.updated_at,
        )
