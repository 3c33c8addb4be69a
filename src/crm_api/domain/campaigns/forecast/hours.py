"""When a place is open in a forecast: the campaign's hours and the law's, for a day of the line."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, partial, reduce
from zoneinfo import ZoneInfo

import holidays

from crm_api.domain.campaigns.schedule import resolve_zones
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.compliance.schemas import Rule, RuleKind
from crm_api.domain.windows import Window, day_span
from crm_api.domain.zones import parse_zone_key

Span = tuple[float, float]
"""Seconds from the start of the line's day."""
_Instants = tuple[datetime, datetime]
_HOURS = (RuleKind.WINDOW, RuleKind.NO_DAY, RuleKind.HOLIDAY)


@dataclass(frozen=True, kw_only=True)
class Hours:
    """When a campaign may send.

    Attributes:
        window: The campaign's own; None: at any hour.
        timezone: The campaign's: an IANA name, ``recipient``, or None for the line's.
        line_timezone: In whose days the caps are counted.
        rules: The law's.
    """

    window: Window | None
    timezone: str | None
    line_timezone: str
    rules: RuleBook

    @property
    def depend_on_places(self) -> bool:
        """True when recipients in different places may have different hours."""
        return bool(self.rules.rules) or (self.window is not None and self.timezone == "recipient")


@dataclass(frozen=True)
class Place:
    """Zone keys that are open alike.

    Attributes:
        own: Zones in all of which the campaign's window must be open.
        legal: Zones in all of which the rules must allow a text; none where there are no rules.
        states: One for each set of rules; ``()`` stands for all rules.
    """

    own: tuple[str, ...]
    legal: tuple[str, ...]
    states: tuple[tuple[str, ...], ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every zone that matters."""
        return tuple(sorted({*self.own, *self.legal}))


class PlaceHours:
    """Works out spans; those of one state in one zone are shared by all places."""

    def __init__(self, hours: Hours, *, first: date) -> None:
        self._hours = hours
        self._first = first
        self.rules = [rule for rule in hours.rules.rules if rule.kind in _HOURS]
        self._alike: dict[object, str] = {}

    def place_of(self, key: str) -> Place:
        """Return the place of a zone key: states with the same rules are one."""
        hours, known = self._hours, parse_zone_key(key)
        own: tuple[str, ...] = ()
        if hours.window is not None:
            own = resolve_zones(hours.timezone, hours.line_timezone, key)
        if not self.rules:
            return Place(own=own, legal=(), states=())
        states = sorted({(self._representative(state),) for state in known.states})
        return Place(own=own, legal=known.zones, states=tuple(states) or ((),))

    def keeps_holidays(self, place: Place) -> bool:
        """Tell whether a rule shuts the place on federal holidays."""
        kept = {rule.state for rule in self.rules if rule.kind is RuleKind.HOLIDAY}
        return bool(kept) and any(
            None in kept or not states or kept & set(states) for states in place.states
        )

    def spans(self, place: Place, starts: datetime, ends: datetime) -> tuple[Span, ...]:
        """Return when a place is open between two instants, in order, as seconds from the first."""
        parts = [self._in_zone(self._own_span, zone, starts, ends) for zone in place.own]
        for states in place.states:
            span_of = partial(self._hours.rules.span, states)
            parts += [self._in_zone(span_of, zone, starts, ends) for zone in place.legal]
        both = reduce(_common, parts, [(starts, ends)])
        return tuple(
            ((opens - starts).total_seconds(), (closes - starts).total_seconds())
            for opens, closes in both
        )

    def _representative(self, state: str) -> str:
        own = frozenset(self._shape(rule) for rule in self.rules if rule.state == state)
        return self._alike.setdefault(own, state)

    def _shape(self, rule: Rule) -> tuple[object, ...]:
        begins, until = rule.effective_from, rule.effective_until
        # A day before the first still decides: it may reach into it.
        has_begun = begins is None or begins < self._first - timedelta(days=2)
        return (
            rule.kind,
            rule.weekdays,
            rule.start,
            rule.end,
            None if has_begun else begins,
            until,
        )

    def _own_span(self, zone: str, day: date) -> _Instants | None:
        return day_span(self._hours.window, zone, day) if self._hours.window is not None else None

    @staticmethod
    def _in_zone(
        span_of: Callable[[str, date], _Instants | None],
        zone: str,
        starts: datetime,
        ends: datetime,
    ) -> list[_Instants]:
        """Return a zone's spans that lie between two instants, one a local day.

        Two without a gap stay two: the claim takes a local midnight for the end of a window.
        """
        place = ZoneInfo(zone)
        day, last = starts.astimezone(place).date(), ends.astimezone(place).date()
        found: list[_Instants] = []
        while day <= last:
            span = span_of(zone, day)
            day += timedelta(days=1)
            if span is None or span[0] >= ends or span[1] <= starts:
                continue
            found.append((max(span[0], starts), min(span[1], ends)))
        return found


@lru_cache(maxsize=64)
def federal_holidays(year: int) -> frozenset[date]:
    """Return the federal holidays of a year, and the days on which they are observed."""
    return frozenset(holidays.country_holidays("US", years=year))


def _common(these: Iterable[_Instants], those: Iterable[_Instants]) -> list[_Instants]:
    return list(_overlaps(list(these), list(those)))


def _overlaps(these: list[_Instants], those: list[_Instants]) -> Iterator[_Instants]:
    for opens, closes in these:
        for other_opens, other_closes in those:
            start, end = max(opens, other_opens), min(closes, other_closes)
            if start < end:
                yield start, end
