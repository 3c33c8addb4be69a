"""What the rules say about a place and an instant: open until when, next when, how many.

All of it is pure. A rule holds by the date at the recipient. Where a person may be in several
states or zones, every rule of every state must allow the text in every zone, and of nobody's state
all rules count: the stricter wins.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from functools import lru_cache, partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

import holidays

from crm_api.domain import windows
from crm_api.domain.compliance.schemas import EVERY_DAY, Rule, RuleKind
from crm_api.domain.windows import DAYS, Span, Window, day_span
from crm_api.domain.zones import parse_zone_key

FOREVER = datetime.max.replace(tzinfo=UTC)
"""Until when it is open where no rules are kept."""
_ALL_DAY = Window.of(EVERY_DAY, time(0), time.max)
_CACHE_SIZE = 16_384
"""Spans of days: a few hundred places, two or three days each."""


class FrequencyCap(NamedTuple):
    """How many campaign texts a number may get in so many hours."""

    texts: int
    hours: int


class RuleBook:
    """The rules that a process keeps, loaded once.

    Attributes:
        name: ``us``, ``none``, or the path of a file.
    """

    def __init__(self, rules: Iterable[Rule], *, name: str) -> None:
        self.name = name
        self.rules = tuple(rules)
        self._span_of = lru_cache(maxsize=_CACHE_SIZE)(self._find_span)
        self._cap_of = lru_cache(maxsize=_CACHE_SIZE)(self._find_cap)

    def in_force(self, on: date) -> list[Rule]:
        """Return the rules that hold on a day."""
        return [rule for rule in self.rules if rule.is_in_force(on)]

    def open_until(self, zone_key: str, now: datetime) -> datetime | None:
        """Return until when a text may leave for this place, or None when it may not now."""
        if not self.rules:
            return FOREVER
        place = parse_zone_key(zone_key)
        return windows.open_until(partial(self._span_of, place.states), place.zones, now)

    def next_open(self, zone_key: str, now: datetime) -> datetime | None:
        """Return the first instant from ``now`` on at which a text may leave for this place.

        None when there is none within two weeks.
        """
        if not self.rules:
            return now
        place = parse_zone_key(zone_key)
        return windows.next_open(partial(self._span_of, place.states), place.zones, now)

    def span(self, states: tuple[str, ...], zone: str, day: date) -> Span | None:
        """Return when a local day is open by all rules of the states; None when it stays shut."""
        return self._span_of(states, zone, day)

    def frequency_cap(self, zone_key: str, now: datetime) -> FrequencyCap | None:
        """Return how often a number at this place may be texted; None when no rule says.

        Of several the smallest number over the longest time is taken, which keeps each of them.
        """
        place = parse_zone_key(zone_key)
        days = {now.astimezone(ZoneInfo(zone)).date() for zone in place.zones}
        return _strictest(self._cap_of(place.states, day) for day in days)

    def _applying(self, states: tuple[str, ...], day: date) -> list[Rule]:
        return [
            rule
            for rule in self.in_force(day)
            if rule.state is None or not states or rule.state in states
        ]

    def _find_span(self, states: tuple[str, ...], zone: str, day: date) -> Span | None:
        weekday = DAYS[day.weekday()]
        spans = [day_span(_ALL_DAY, zone, day)]
        for rule in self._applying(states, day):
            if rule.kind is RuleKind.HOLIDAY and is_federal_holiday(day):
                return None
            if weekday not in rule.weekdays:
                continue
            if rule.kind is RuleKind.NO_DAY:
                return None
            if rule.start is not None and rule.end is not None:
                window = Window.of(rule.weekdays, rule.start, rule.end)
                spans.append(day_span(window, zone, day))
        known = [span for span in spans if span is not None]
        opens, closes = max(span[0] for span in known), min(span[1] for span in known)
        return (opens, closes) if len(known) == len(spans) and opens < closes else None

    def _find_cap(self, states: tuple[str, ...], day: date) -> FrequencyCap | None:
        return _strictest(
            FrequencyCap(rule.max_texts, rule.per_hours)
            for rule in self._applying(states, day)
            if rule.max_texts is not None and rule.per_hours is not None
        )


NO_RULES = RuleBook((), name="none")
"""Nothing is kept: for the sandbox, which texts nobody."""


@lru_cache(maxsize=4096)
def is_federal_holiday(day: date) -> bool:
    """Tell whether a day is a federal holiday or the day on which one is observed."""
    return day in holidays.country_holidays("US", years=day.year)


def _strictest(caps: Iterable[FrequencyCap | None]) -> FrequencyCap | None:
    known = [cap for cap in caps if cap is not None]
    if not known:
        return None
    return FrequencyCap(min(cap.texts for cap in known), max(cap.hours for cap in known))
