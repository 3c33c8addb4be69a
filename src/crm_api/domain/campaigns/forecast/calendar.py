"""The days of a forecast: when each place is open, worked out once for all days that are alike."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.forecast.hours import (
    Hours,
    Place,
    PlaceHours,
    Span,
    federal_holidays,
)
from crm_api.domain.compliance.schemas import Rule, RuleKind

WEEK = 7
HORIZON_DAYS = 3652
"""Ten years. What takes longer is told as never: nobody plans by it."""
_SPACING = 6
"""Days between two looks at the clocks: two countries that change theirs in the same season are at
least a week apart."""
_HOLIDAY_YEARS = 2
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Segment:
    """A part of the day in which the same places are open.

    Attributes:
        start: Seconds from the start of the line's day.
        end: The same.
        closes: When the last of the places closes.
        places: Their positions.
    """

    start: float
    end: float
    closes: float
    places: tuple[int, ...]


class Calendar:
    """The line's days from one on, each as segments in which the same places are open.

    Places that are open alike are one: ``groups`` gives for each zone key its place. Days are
    alike when they share weekday, holiday, rules in force and the clocks' differences.
    """

    def __init__(self, hours: Hours, zone_keys: Iterable[str], *, first: date) -> None:
        self.first = first
        self._line = ZoneInfo(hours.line_timezone)
        self._hours = PlaceHours(hours, first=first)
        self._days: dict[int, tuple[Segment, ...]] = {}
        self._patterns: dict[object, tuple[Segment, ...]] = {}
        self.groups: dict[str, int] = {}
        self._places: list[Place] = []
        self._rule_changes = sorted(_changes(self._hours.rules))
        places = {key: self._hours.place_of(key) for key in sorted(set(zone_keys))}
        self._holidays = self._kept_holidays(places.values())
        self._group(places)
        self.shut_places = self._find_shut()
        """Those that are open on no day of any kind."""
        self._zones = [ZoneInfo(name) for name in sorted({z for p in self._places for z in p.all})]
        self._eras = self._find_eras()
        self._signs = [self._sign_of(day) for day in self._eras]

    @property
    def places(self) -> int:
        """How many places there are."""
        return len(self._places)

    def on(self, at: datetime) -> date:
        """Return the line's day of an instant."""
        return at.astimezone(self._line).date()

    def starts_at(self, day: int) -> datetime:
        """Return the instant at which a day begins, counted from the first."""
        return _midnight(self.first + timedelta(days=day), self._line)

    def segments(self, day: int) -> tuple[Segment, ...]:
        """Return the day's segments in order; those in which nobody may be texted are left out."""
        if day not in self._days:
            around = [self._sign(other) for other in (day - 1, day, day + 1)]
            on = self.first + timedelta(days=day)
            is_changed = self.starts_at(day + 1) - self.starts_at(day) != _DAY
            is_mixed = len({sign[2] for sign in around}) > 1
            key = on if is_changed or is_mixed else (on.weekday(), *around)
            if key not in self._patterns:
                self._patterns[key] = self._cut(on)
            self._days[day] = self._patterns[key]
        return self._days[day]

    def alike_until(self, day: int, *, years: bool = False) -> int:
        """Return the first day from ``day`` on that is not like it, weekdays apart.

        Args:
            day: Counted from the first.
            years: Compare whole years, which all have their holidays and changed clocks.
        """
        if years:
            on = self.first + timedelta(days=day)
            changes = ((change - self.first).days for change in self._rule_changes if change > on)
            return min(changes, default=HORIZON_DAYS)
        sign = self._sign(day)
        until = day
        while until < HORIZON_DAYS and self._sign(until) == sign:
            until += 1
        return until

    def _sign(self, day: int) -> tuple[object, ...]:
        """Return what a day's hours depend on besides its weekday: rules, holiday, clocks."""
        rules, clocks = self._signs[max(0, bisect_right(self._eras, day) - 1)]
        return rules, self.first + timedelta(days=day) in self._holidays, clocks

    def _sign_of(self, day: int) -> tuple[object, object]:
        on = self.first + timedelta(days=day)
        # A clock that goes with the line's moves nothing in the line's day.
        clocks = tuple(_difference(zone, self._line, on) for zone in self._zones)
        return bisect_right(self._rule_changes, on), clocks

    def _find_eras(self) -> list[int]:
        """Return the days from which on other rules hold, or a clock differs otherwise."""
        eras = {-1}
        eras.update((change - self.first).days for change in self._rule_changes)
        for zone in self._zones:
            eras.update(self._clock_changes(zone))
        return sorted(day for day in eras if day >= -1)

    def _clock_changes(self, zone: ZoneInfo) -> Iterator[int]:
        def difference(day: int) -> timedelta:
            return _difference(zone, self._line, self.first + timedelta(days=day))

        for early, late in pairwise(range(-1, HORIZON_DAYS + _SPACING, _SPACING)):
            low, high, before = early, late, difference(early)
            if difference(high) == before:
                continue
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if difference(middle) == before else (low, middle)
            yield high

    def _kept_holidays(self, places: Iterable[Place]) -> frozenset[date]:
        if not any(self._hours.keeps_holidays(place) for place in places):
            return frozenset()
        years = range(self.first.year - 1, self.first.year + HORIZON_DAYS // 365 + 2)
        return frozenset().union(*(federal_holidays(year) for year in years))

    def _group(self, places: dict[str, Place]) -> None:
        """Put keys together that have the same zones and the same hours on days of every kind."""
        days = self._days_of_every_kind()
        found: dict[object, int] = {}
        known: dict[Place, object] = {}
        for key, place in places.items():
            if place not in known:
                known[place] = (place.all, *(self._open(place, on) for on in days))
            hours = known[place]
            if hours not in found:
                found[hours] = len(self._places)
                self._places.append(place)
            self.groups[key] = found[hours]

    def _find_shut(self) -> list[int]:
        fortnight = [self.first + timedelta(days=offset) for offset in range(2 * WEEK)]
        days = [*fortnight, *self._days_of_every_kind()]
        return [
            number
            for number, place in enumerate(self._places)
            if not any(self._open(place, on) for on in days)
        ]

    def _days_of_every_kind(self) -> list[date]:
        starts = [self.first, *(change for change in self._rule_changes if change > self.first)]
        days = [start + timedelta(days=offset) for start in starts for offset in range(WEEK)]
        until = self.first + timedelta(days=366 * _HOLIDAY_YEARS)
        by_weekday: dict[int, date] = {}
        for day in sorted(self._holidays):
            if self.first <= day < until:
                by_weekday.setdefault(day.weekday(), day)
        return [*days, *by_weekday.values()]

    def _cut(self, on: date) -> tuple[Segment, ...]:
        spans = [self._open(place, on) for place in self._places]
        edges = sorted({edge for own in spans for span in own for edge in span})
        segments = []
        for start, end in pairwise(edges):
            closing = {
                place: closes
                for place, own in enumerate(spans)
                for opens, closes in own
                if opens <= start and end <= closes
            }
            if closing:
                segments.append(Segment(start, end, max(closing.values()), tuple(closing)))
        return tuple(segments)

    def _open(self, place: Place, on: date) -> tuple[Span, ...]:
        starts, ends = (_midnight(on + timedelta(days=more), self._line) for more in (0, 1))
        return self._hours.spans(place, starts, ends)


@lru_cache(maxsize=32)
def calendar_for(hours: Hours, zone_keys: tuple[str, ...], first: date) -> Calendar:
    """Return the calendar of these hours and places; it is the same for all who ask that day."""
    return Calendar(hours, zone_keys, first=first)


def _changes(rules: Sequence[Rule]) -> Iterator[date]:
    for rule in rules:
        if rule.kind is RuleKind.FREQUENCY:
            continue
        if rule.effective_from is not None:
            yield rule.effective_from
        if rule.effective_until is not None:
            yield rule.effective_until + timedelta(days=1)


def _midnight(on: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(on, time(0), tzinfo=zone).astimezone(UTC)


def _difference(zone: ZoneInfo, line: ZoneInfo, on: date) -> timedelta:
    noon = datetime.combine(on, time(12), tzinfo=UTC)
    return (zone.utcoffset(noon) or timedelta()) - (line.utcoffset(noon) or timedelta())
