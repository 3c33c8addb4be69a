"""The instants at which `make test-dates` runs the tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
BEFORE = timedelta(minutes=2)
"""A run begins this long before a change of the calendar or the clock, so that most of its tests
run after the change."""


@dataclass(frozen=True)
class Moment:
    """An instant at which a run begins."""

    name: str
    at: datetime


def moments(now: datetime) -> list[Moment]:
    """Return the next instants for a run: changes of the calendar, and a date in five years."""
    return [
        Moment("the end of January", _month_end(now, month=1)),
        Moment("the end of April", _month_end(now, month=4)),
        Moment("clocks are set forward in the USA", _clock_change(now, month=3, sunday=2)),
        Moment("clocks are set back in the USA", _clock_change(now, month=11, sunday=1)),
        Moment("29 February", _leap_day(now)),
        Moment("in five years", now + timedelta(days=5 * 365 + 2)),
    ]


def _years(now: datetime) -> Iterator[int]:
    yield from range(now.year, now.year + 10)


def _month_end(now: datetime, *, month: int) -> datetime:
    """Return the instant two minutes before the end of a month in UTC.

    At the end of a month, the monthly partitions of the database change.
    """
    ends = (datetime(year, month + 1, 1, tzinfo=UTC) - BEFORE for year in _years(now))
    return next(end for end in ends if end > now)


def _clock_change(now: datetime, *, month: int, sunday: int) -> datetime:
    """Return the instant two minutes before New York changes its clocks.

    New York changes its clocks one hour after 01:00 of the given Sunday of the month.
    """
    firsts = (date(year, month, 1) for year in _years(now))
    days = (first + timedelta(days=6 - first.weekday() + 7 * (sunday - 1)) for first in firsts)
    nights = (datetime.combine(day, time(1), tzinfo=NEW_YORK).astimezone(UTC) for day in days)
    changes = (night + timedelta(hours=1) - BEFORE for night in nights)
    return next(change for change in changes if change > now)


def _leap_day(now: datetime) -> datetime:
    leap = (year for year in _years(now) if year % 4 == 0 and (year % 100 or year % 400 == 0))
    days = (datetime(year, 2, 29, 15, 0, tzinfo=UTC) for year in leap)
    return next(day for day in days if day > now)
