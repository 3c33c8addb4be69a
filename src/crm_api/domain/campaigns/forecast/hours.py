"""When each zone key of a forecast is open: the days of one year, from the planner's windows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.schedule import resolve_zones
from crm_api.domain.consent.legal_rules.rules import RuleBook, is_federal_holiday
from crm_api.domain.consent.legal_rules.schemas import ComplianceRuleKind
from crm_api.domain.kit.windows import Window, day_span
from crm_api.domain.kit.zones import parse_zone_key

YEAR = 364
"""Days that are simulated: 52 weeks, so that a further year has the same weekdays."""
CALL_SECONDS = 16.0
"""A call does not begin so shortly before the hours end, because it might end too late."""
_HOURS = (ComplianceRuleKind.WINDOW, ComplianceRuleKind.NO_DAY, ComplianceRuleKind.HOLIDAY)
_RELEVANT = {"kind", "weekdays", "start", "end", "effective_from", "effective_until"}
_Open = tuple[tuple[float, float], ...]
"""Seconds from the start of a line's day at which something opens and closes."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """When a campaign may send.

    Attributes:
        window: The campaign's own; None allows any hour.
        timezone: The campaign's: an IANA name, ``recipient``, or None for the line's.
        line_timezone: Its days are the days of the caps.
        rules: The legal rules.
    """

    window: Window | None
    timezone: str | None
    line_timezone: str
    rules: RuleBook


@dataclass(frozen=True)
class Segment:
    """A part of a day during which the same places are open.

    Attributes:
        start: Seconds from the start of the line's day.
        end: Seconds from the start of the line's day.
        closes: When the last of the places closes, in the same unit.
        places: Numbers of the places.
    """

    start: float
    end: float
    closes: float
    places: tuple[int, ...]


@dataclass(frozen=True)
class Calendar:
    """The line's days of a year, each as segments in order.

    Attributes:
        first: The first day.
        starts: When each day begins, as a timestamp; one more than there are days.
        days: The segments of each day; hours in which every place is closed are left out.
        place_of: The place of each zone key. Zone keys with the same hours are one place.
        shut: Places that are open on no day.
    """

    first: date
    starts: tuple[float, ...]
    days: tuple[tuple[Segment, ...], ...]
    place_of: dict[str, int]
    shut: frozenset[int]

    @property
    def places(self) -> int:
        """How many places there are."""
        return 1 + max(self.place_of.values(), default=0)


@lru_cache(maxsize=32)
def calendar_for(hours: Hours, zone_keys: tuple[str, ...], first: date) -> Calendar:
    """Return the calendar of these hours and zone keys; all requests of a day share it."""
    zone = ZoneInfo(hours.line_timezone)
    midnights = [
        datetime.combine(first + timedelta(days=day), time(), zone) for day in range(YEAR + 1)
    ]
    sources_of = _find_sources(hours, zone_keys)
    sources = {source for own in sources_of.values() for source in own}
    zones = [ZoneInfo(name) for name in sorted({source.zone for source in sources})]
    kinds = [_kind_of_day(hours.rules, zones, *ends) for ends in pairwise(midnights)]
    opens_of: dict[tuple[_Source, ...], list[_Open]] = {own: [] for own in sources_of.values()}
    for starts, ends in dict(zip(kinds, pairwise(midnights), strict=True)).values():
        spans_of = {source: _spans(hours, source, starts, ends) for source in sources}
        for own, opens in opens_of.items():
            opens.append(
                _open([spans_of[source] for source in own], ends.timestamp() - starts.timestamp())
            )
    places = {
        opens: place for place, opens in enumerate(dict.fromkeys(map(tuple, opens_of.values())))
    }
    segments = {
        kind: _cut([opens[number] for opens in places])
        for number, kind in enumerate(dict.fromkeys(kinds))
    }
    return Calendar(
        first=first,
        starts=tuple(midnight.timestamp() for midnight in midnights),
        days=tuple(segments[kind] for kind in kinds),
        place_of={key: places[tuple(opens_of[own])] for key, own in sources_of.items()},
        shut=frozenset(place for opens, place in places.items() if not any(opens)),
    )


class _Source(NamedTuple):
    """Hours in a time zone: the campaign's own, or those of a state's rules.

    Attributes:
        state: None for the campaign's own hours; empty for the rules of all states.
    """

    zone: str
    state: str | None


def _find_sources(hours: Hours, zone_keys: Iterable[str]) -> dict[str, tuple[_Source, ...]]:
    """Return for each zone key the hours that a message must be inside of."""
    rules_of: defaultdict[str | None, set[object]] = defaultdict(set)
    for rule in hours.rules.rules:
        if rule.kind in _HOURS:
            rules_of[rule.state].add(rule.model_dump_json(include=_RELEVANT))
    # States with the same rules have the same hours.
    representative: dict[frozenset[object], str] = {}
    found = {}
    for zone_key in zone_keys:
        key = parse_zone_key(zone_key)
        sources: list[_Source] = []
        if hours.window is not None:
            own = resolve_zones(hours.timezone, hours.line_timezone, zone_key)
            sources += [_Source(zone, None) for zone in own]
        if hours.rules.rules:
            states = {representative.setdefault(frozenset(rules_of[s]), s) for s in key.states}
            sources += [_Source(zone, s) for zone in key.zones for s in sorted(states) or [""]]
        found[zone_key] = tuple(sources)
    return found


def _kind_of_day(
    rules: RuleBook, zones: Sequence[ZoneInfo], starts: datetime, ends: datetime
) -> tuple[object, ...]:
    """Return what a day's hours depend on: weekday, clocks, and rules and holidays around it."""
    days = [starts.date() + timedelta(days=offset) for offset in (-1, 0, 1)]
    clocks = [at.astimezone(zone).replace(tzinfo=None) for zone in zones for at in (starts, ends)]
    return (
        starts.weekday(),
        ends.timestamp() - starts.timestamp(),
        tuple(local - starts.replace(tzinfo=None) for local in clocks),
        tuple(is_federal_holiday(day) for day in days),
        tuple(rule.is_in_force(day) for rule in rules.rules for day in days),
    )


def _spans(hours: Hours, source: _Source, starts: datetime, ends: datetime) -> _Open:
    """Return the hours of each local day that touches a day of the line.

    For the claim, a window ends at local midnight: two adjacent spans stay two.
    """
    zone, state = source
    day, last = (at.astimezone(ZoneInfo(zone)).date() for at in (starts, ends))
    begins, found = starts.timestamp(), []
    while day <= last:
        if state is not None:
            span = hours.rules.span((state,) if state else (), zone, day)
        else:
            span = day_span(hours.window, zone, day) if hours.window else None
        if span is not None:
            opens, closes = (at.timestamp() - begins for at in span)
            found.append((opens, closes))
        day += timedelta(days=1)
    return tuple(found)


def _open(sources: Sequence[_Open], length: float) -> _Open:
    """Return when all sources are open on a day of this length."""
    both = [(0.0, length)]
    for spans in sources:
        both = [
            (max(opens, one), min(closes, other))
            for opens, closes in both
            for one, other in spans
            if max(opens, one) < min(closes, other)
        ]
    return tuple(
        (opens, closes - CALL_SECONDS) for opens, closes in both if closes - opens > CALL_SECONDS
    )


def _cut(places: Sequence[_Open]) -> tuple[Segment, ...]:
    edges = sorted({edge for spans in places for span in spans for edge in span})
    segments = []
    for start, end in pairwise(edges):
        closing = {
            place: closes
            for place, spans in enumerate(places)
            for opens, closes in spans
            if opens <= start and end <= closes
        }
        if closing:
            segments.append(Segment(start, end, max(closing.values()), tuple(closing)))
    return tuple(segments)
