"""The office hours and holidays of the company, and since when the office has been closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import ClockTime, Name200, RequestDay, TimeZoneName
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.kit.windows import DAYS, Window, day_span

MOST_SPANS = 6
MOST_HOLIDAYS = 100
LOOK_BACK = timedelta(days=60)
"""How far back the service searches for the instant at which the office last closed. If the office
was never open in this period, it is treated as closed since the beginning of the period."""


class OfficeSpan(RequestModel):
    """A part of a day in which the office is open, for example 08:00 to 12:00.

    Attributes:
        start: The first minute in which the office is open.
        end: The first minute in which the office is closed again, later than `start`; 24:00 is the
            end of the day.
    """

    model_config = example(start="08:00", end="12:00")

    start: ClockTime
    end: ClockTime

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.end:
            raise PydanticCustomError(
                "span_order",
                "The span ends before it begins. Set `end` to a time after `start`; split a span "
                "over midnight in two: one until 24:00, and one from 00:00 on the next day.",
            )
        return self


Spans = Annotated[list[OfficeSpan], Field(max_length=MOST_SPANS, default_factory=list)]


class OfficeDays(RequestModel):
    """When the office is open on each day of the week. An empty list means closed all day.

    Attributes:
        mon: The opening hours on Mondays.
        tue: The opening hours on Tuesdays.
        wed: The opening hours on Wednesdays.
        thu: The opening hours on Thursdays.
        fri: The opening hours on Fridays.
        sat: The opening hours on Saturdays.
        sun: The opening hours on Sundays.
    """

    mon: Spans
    tue: Spans
    wed: Spans
    thu: Spans
    fri: Spans
    sat: Spans
    sun: Spans

    @model_validator(mode="after")
    def _sorted_apart(self) -> Self:
        for day in DAYS:
            spans: list[OfficeSpan] = sorted(getattr(self, day), key=lambda span: span.start)
            for earlier, later in pairwise(spans):
                if later.start < earlier.end:
                    raise PydanticCustomError(
                        "spans_overlap",
                        "Two spans of the day {day} overlap. Join them, or move one.",
                        {"day": day},
                    )
            setattr(self, day, spans)
        return self


class OfficeHours(RequestModel):
    """When somebody is in the office.

    Attributes:
        timezone: The IANA time zone of the office hours and of the holidays.
        days: When the office is open on each day of the week.
    """

    model_config = example(
        timezone="America/New_York",
        days={
            "mon": [{"start": "08:00", "end": "12:00"}, {"start": "13:00", "end": "17:00"}],
            "sat": [{"start": "09:00", "end": "12:00"}],
        },
    )

    timezone: TimeZoneName
    days: OfficeDays


class Holiday(RequestModel):
    """A day on which the office is closed.

    Attributes:
        date: The day, in the time zone of the office hours.
        name: The name of the holiday.
    """

    model_config = example(date="2026-12-25", name="Christmas Day")

    date: RequestDay
    name: Name200


Holidays = Annotated[
    list[Holiday],
    Field(
        max_length=MOST_HOLIDAYS,
    ),
]


@dataclass(frozen=True, kw_only=True)
class AwaySettings:
    """The stored settings of the away reply, the automatic answer while the office is closed.

    Attributes:
        reply: The text of the away reply.
        office_hours: The office hours as JSON; None if they are not set.
        holidays: The holidays as JSON.
    """

    reply: str
    office_hours: dict[str, Any] | None
    holidays: Sequence[dict[str, Any]]

    def closed_since(self, at: datetime) -> datetime | None:
        """Return when the office last closed before ``at``; None if the office is open at ``at``.

        Without office hours the office counts as always open.
        """
        if self.office_hours is None:
            return None
        closed = {date.fromisoformat(one["date"]) for one in self.holidays}
        return find_closed_since(OfficeHours.model_validate(self.office_hours), closed, at)


def find_closed_since(hours: OfficeHours, holidays: set[date], at: datetime) -> datetime | None:
    """Return when the office last closed before ``at``; None if the office is open at ``at``.

    The result is in UTC. If no closing is found in the period ``LOOK_BACK`` before ``at``, the
    result is the beginning of this period.

    Args:
        holidays: The local days on which the office is closed all day.
    """
    today = at.astimezone(ZoneInfo(hours.timezone)).date()
    for back in range(LOOK_BACK.days + 1):
        day = today - timedelta(days=back)
        if day in holidays:
            continue
        ended: datetime | None = None
        for opens, closes in open_spans(hours, day):
            if opens <= at < closes:
                return None
            if closes <= at:
                ended = closes
        if ended is not None:
            return ended
    return at - LOOK_BACK


def open_spans(hours: OfficeHours, day: date) -> list[tuple[datetime, datetime]]:
    """Return the opening and closing instants of a local day, in order."""
    name = DAYS[day.weekday()]
    spans: list[OfficeSpan] = getattr(hours.days, name)
    found = [
        day_span(Window.of([name], span.start, span.end), hours.timezone, day) for span in spans
    ]
    return [span for span in found if span is not None]
