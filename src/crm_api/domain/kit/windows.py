"""Compute when messages may be sent: when a daily window of hours opens and closes in a time zone.

The hours of a window are local times, also on days on which daylight saving time (DST) begins or
ends. All functions are pure. Instants are timezone-aware; results are in UTC.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
LAST_MINUTE = time(23, 59)
"""If a window of hours ends at this local time or later, it closes at midnight. The reason: people
write `23:59` for the end of the day."""
SEARCH_DAYS = 14
"""How many days ahead the next opening of a window is searched. This is enough, because a window
that opens each week opens within 8 days."""

Span = tuple[datetime, datetime]
"""The instants at which the window of a day opens and closes."""
SpanOf = Callable[[str, date], Span | None]
"""A function that takes a time zone and a local day. It returns when the window opens and closes on
this day; None if the window does not open."""


@dataclass(frozen=True)
class Window:
    """Days of the week and daily hours in local time, such as the sending hours of a campaign.

    Attributes:
        days: The days on which the window opens: some of ``mon`` … ``sun``.
        start: The local time at which the window opens.
        end: The local time at which the window closes; 23:59 and later mean midnight.
    """

    days: frozenset[str]
    start: time
    end: time

    @classmethod
    def of(cls, days: Iterable[str], start: time, end: time) -> "Window":
        """Make a window (days of the week and daily hours). The days may be in any order."""
        return cls(days=frozenset(days), start=start, end=end)


def open_until(span_of: SpanOf, zones: Sequence[str], now: datetime) -> datetime | None:
    """Return the instant until which sending stays allowed in all given time zones.

    The result is None if ``now`` is outside the hours of at least one time zone, or if ``zones`` is
    empty.

    Args:
        span_of: Returns the sending hours of a time zone on a day.
    """
    closings: list[datetime] = []
    for zone in zones:
        span = span_of(zone, now.astimezone(ZoneInfo(zone)).date())
        if span is None or not span[0] <= now < span[1]:
            return None
        closings.append(span[1])
    return min(closings, default=None)


def next_open(span_of: SpanOf, zones: Sequence[str], now: datetime) -> datetime | None:
    """Return the first instant, ``now`` or later, that is in the sending hours of all given zones.

    ``span_of`` returns the sending hours of a time zone on a day. The result is None if there is no
    such instant in the next ``SEARCH_DAYS`` days, for example because the sending hours of distant
    zones never overlap.
    """
    horizon = now + timedelta(days=SEARCH_DAYS)
    at: datetime = now.astimezone(UTC)
    while at <= horizon:
        openings = [_next_in_zone(span_of, zone, at) for zone in zones]
        latest = max((opening for opening in openings if opening is not None), default=None)
        if latest is None or None in openings:
            return None
        if latest == at:
            return at
        at = latest
    return None


def _next_in_zone(span_of: SpanOf, zone: str, at: datetime) -> datetime | None:
    day = at.astimezone(ZoneInfo(zone)).date()
    for offset in range(SEARCH_DAYS + 1):
        span = span_of(zone, day + timedelta(days=offset))
        if span is not None and at < span[1]:
            return max(span[0], at)
    return None


@lru_cache(maxsize=8192)
def day_span(window: Window, zone: str, day: date) -> Span | None:
    """Return when the sending hours (the window) of a local day begin and end; None without hours.

    At the end of daylight saving time, an hour occurs twice. The window is never open too long:

    - If only its start is in this hour, it opens when this time occurs for the second time.
    - If only its end is in this hour, it closes when this time occurs for the first time.
    - If both are in this hour, it opens and closes when these times occur for the first time.
    """
    if DAYS[day.weekday()] not in window.days:
        return None
    zone_info = ZoneInfo(zone)
    if window.end >= LAST_MINUTE:
        closes = _instant(day + timedelta(days=1), time(0), zone_info, fold=0)
    else:
        closes = _instant(day, window.end, zone_info, fold=0)
    for fold in (1, 0):
        opens = _instant(day, window.start, zone_info, fold=fold)
        if opens < closes:
            return opens, closes
    return None


def _instant(day: date, at: time, zone: ZoneInfo, *, fold: int) -> datetime:
    """Return the instant of a local time.

    If DST skips the local time, return the instant at which the clocks change.
    """
    local = datetime.combine(day, at)
    early, late = sorted(
        local.replace(tzinfo=zone, fold=either).astimezone(UTC) for either in (0, 1)
    )
    skipped = early != late and early.astimezone(zone).replace(tzinfo=None) != local
    if not skipped:
        return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(microseconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late
