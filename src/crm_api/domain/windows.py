"""The hours of a day in one zone: when they open and close, also when the clock is changed.

All of it is pure. Instants are timezone-aware; what is returned is UTC. Wall-clock times come
from the zone database, so a change to or from daylight-saving time moves the window with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LAST_MINUTE = time(23, 59)
"""A window that ends in the last minute of the day lasts to midnight: `23:59` is how people
write the end of the day."""


@dataclass(frozen=True)
class Window:
    """The hours of the days on which a campaign sends, in local time.

    Attributes:
        days: Among ``mon`` … ``sun``.
        start: The first moment that is open.
        end: The first that is not; from 23:59 on it means midnight.
    """

    days: frozenset[str]
    start: time
    end: time

    @classmethod
    def of(cls, days: Iterable[str], start: time, end: time) -> "Window":
        """Make a window from any collection of day names."""
        return cls(days=frozenset(days), start=start, end=end)


@lru_cache(maxsize=8192)
def day_span(window: Window, zone: str, day: date) -> tuple[datetime, datetime] | None:
    """Return the opening and closing instants of a local day, or None when it has none.

    On a day that is set back one hour comes twice. A window then opens with the second of its
    two starts and closes with the first of its two ends, so that no moment outside the written
    hours is open; only where that leaves nothing do both count at their first.
    """
    if DAYS[day.weekday()] not in window.days:
        return None
    place = ZoneInfo(zone)
    if window.end >= LAST_MINUTE:
        closes = _instant(day + timedelta(days=1), time(0), place, fold=0)
    else:
        closes = _instant(day, window.end, place, fold=0)
    for fold in (1, 0):
        opens = _instant(day, window.start, place, fold=fold)
        if opens < closes:
            return opens, closes
    return None


def _instant(day: date, at: time, place: ZoneInfo, *, fold: int) -> datetime:
    """Return the instant of a wall-clock time; inside a skipped hour that of the jump itself."""
    local = datetime.combine(day, at)
    early, late = sorted(
        local.replace(tzinfo=place, fold=either).astimezone(UTC) for either in (0, 1)
    )
    skipped = early != late and early.astimezone(place).replace(tzinfo=None) != local
    if not skipped:
        return local.replace(tzinfo=place, fold=fold).astimezone(UTC)
    before = early.astimezone(place).utcoffset()
    while late - early > timedelta(microseconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(place).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late
