"""Compute the hours in which people may get messages, for each day of one year.

The hours are computed for each zone key. A zone key names the states and the time zones in which a
person may live. The hours follow from the campaign's allowed hours and from the legal rules.
"""

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
"""The number of simulated days: 52 weeks, so that the next year begins on the same weekday."""
CALL_SECONDS = 16.0
"""A request to the provider must begin at least this many seconds before the hours end, because a
later request could end after the hours."""
_HOURS = (ComplianceRuleKind.WINDOW, ComplianceRuleKind.NO_DAY, ComplianceRuleKind.HOLIDAY)
_RELEVANT = {"kind", "weekdays", "start", "end", "effective_from", "effective_until"}
_Open = tuple[tuple[float, float], ...]
"""Pairs of an opening time and a closing time, in seconds from the start of a day in the line's
time zone."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """The rules about the hours in which a campaign may send.

    Attributes:
        window: The days and hours that the campaign allows; None if it allows all.
        timezone: An IANA name, or ``recipient`` for the time zone of each recipient; None for the
            time zone of the line.
        line_timezone: Daily limits count the messages of a day in this time zone.
        rules: The legal rules.
    """

    window: Window | None
    timezone: str | None
    line_timezone: str
    rules: RuleBook


@dataclass(frozen=True)
class Segment:
    """A part of a day during which the same zone groups may get messages.

    All times are in seconds from the start of the day in the line's time zone.

    Attributes:
        closes: The end of the allowed hours of the groups, at or after ``end``. If the groups have
            different hours, it is the latest end.
        zone_groups: The indices of the zone groups, as in ``Calendar.zone_group_of``.
    """

    start: float
    end: float
    closes: float
    zone_groups: tuple[int, ...]


@dataclass(frozen=True)
class Calendar:
    """The hours in which messages are allowed on each day of a year.

    All zone keys with the same allowed hours are one zone group. The days are those of the line's
    time zone.

    Attributes:
        first: The first day.
        starts: When each day begins, as Unix timestamps. The last item is the end of the last day.
        days: For each day, the periods in which at least one zone group may get messages.
        zone_group_of: For each zone key, the index of its zone group, from 0.
        shut: The indices of the zone groups in which no message is allowed on any day.
    """

    first: date
    starts: tuple[float, ...]
    days: tuple[tuple[Segment, ...], ...]
    zone_group_of: dict[str, int]
    shut: frozenset[int]

    @property
    def zone_groups(self) -> int:
        """The number of zone groups (groups of recipients who have the same allowed hours)."""
        return 1 + max(self.zone_group_of.values(), default=0)


@lru_cache(maxsize=32)
def calendar_for(hours: Hours, zone_keys: tuple[str, ...], first: date) -> Calendar:
    """Return the hours of a year in which messages to the recipients are allowed.

    The result is cached.

    Args:
        zone_keys: The zone keys of all recipients.
        first: The first day of the year.
    """
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
    zone_groups = {
        opens: zone_group
        for zone_group, opens in enumerate(dict.fromkeys(map(tuple, opens_of.values())))
    }
    segments = {
        kind: _cut([opens[number] for opens in zone_groups])
        for number, kind in enumerate(dict.fromkeys(kinds))
    }
    return Calendar(
        first=first,
        starts=tuple(midnight.timestamp() for midnight in midnights),
        days=tuple(segments[kind] for kind in kinds),
        zone_group_of={key: zone_groups[tuple(opens_of[own])] for key, own in sources_of.items()},
        shut=frozenset(zone_group for opens, zone_group in zone_groups.items() if not any(opens)),
    )


class _Source(NamedTuple):
    """One set of hours that limits messages: the campaign's own hours, or the legal hours.

    If several sources apply to a person, a message must be sent inside the hours of all of them.

    Attributes:
        zone: The IANA time zone of the hours.
        state: None for the campaign's own hours. For legal hours, the state whose rules apply; an
            empty text if the state is unknown.
    """

    zone: str
    state: str | None


def _find_sources(hours: Hours, zone_keys: Iterable[str]) -> dict[str, tuple[_Source, ...]]:
    """Return, for each zone key, the sets of hours that limit messages to its people.

    A message must be sent inside all sets of hours of its zone key.
    """
    rules_of: defaultdict[str | None, set[object]] = defaultdict(set)
    for rule in hours.rules.rules:
        if rule.kind in _HOURS:
            rules_of[rule.state].add(rule.model_dump_json(include=_RELEVANT))
    # States with the same legal rules have the same hours. So the hours are computed for only one
    # of these states.
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
    """Return a key for a day. Days with the same key have the same sending hours.

    The key must contain everything on which the sending hours depend:

    - the weekday
    - the length of the day (23 to 25 hours)
    - the differences between the local times of the zones
    - the holidays on the day, the day before and the day after
    - the rules that are in force on these three days
    """
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
    """Return the hours of one source on one day, as spans (see ``_Open``).

    The day may include parts of two days in the time zone of the source. Each of the two days then
    has its own span, even if there is no gap between the two spans.

    Args:
        starts: The start of the day in the line's time zone.
        ends: The end of the day in the line's time zone.
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
    """Return the spans of a day in which a request to send a message may begin.

    Such a span is inside the hours of all sources. It ends ``CALL_SECONDS`` before these hours end.

    Args:
        sources: For each source of hours, the spans in which it allows messages.
        length: The length of the day in seconds.
    """
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


def _cut(zone_groups: Sequence[_Open]) -> tuple[Segment, ...]:
    edges = sorted({edge for spans in zone_groups for span in spans for edge in span})
    segments = []
    for start, end in pairwise(edges):
        closing = {
            zone_group: closes
            for zone_group, spans in enumerate(zone_groups)
            for opens, closes in spans
            if opens <= start and end <= closes
        }
        if closing:
            segments.append(Segment(start, end, max(closing.values()), tuple(closing)))
    return tuple(segments)
