"""Load and evaluate the legal rules for when and how often a phone number may get messages.

A message must be allowed for every possible pair of a state and a time zone. If the state is not
known, the rules of all states apply. The local date of the recipient decides whether a rule is in
force. All functions that evaluate rules are pure.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from crm_api.domain.consent.legal_rules.schemas import (
    ComplianceRule,
    ComplianceRuleKind,
    RuleFile,
)
from crm_api.domain.kit import windows
from crm_api.domain.kit.windows import DAYS, Span, Window, day_span
from crm_api.domain.kit.zones import parse_zone_key
from crm_api.platform.settings import SettingsError

FOREVER = datetime.max.replace(tzinfo=UTC)
"""The end of the allowed hours if there are no rules about hours."""
_ALL_DAY = Window.of(DAYS, time(0), time.max)
_CACHE_SIZE = 16_384
"""The maximum number of entries of each cache. At the same time, entries for a few hundred zone
keys (states and time zones) are in use, each with two or three days."""


class FrequencyCap(NamedTuple):
    """A legal limit: at most ``texts`` campaign messages to a phone number in ``hours`` hours."""

    texts: int
    hours: int


class RuleBook:
    """The legal rules that a process applies; they are loaded once at its start.

    Attributes:
        name: ``us`` for the shipped rules, ``none`` for no rules, or the path of a rule file.
    """

    def __init__(self, rules: Iterable[ComplianceRule], *, name: str) -> None:
        self.name = name
        self.rules = tuple(rules)
        self._span_of = lru_cache(maxsize=_CACHE_SIZE)(self._find_span)
        self._cap_of = lru_cache(maxsize=_CACHE_SIZE)(self._find_cap)

    def in_force(self, on: date) -> list[ComplianceRule]:
        """Return the rules that are in force on a local day of the recipient."""
        return [rule for rule in self.rules if rule.is_in_force(on)]

    def open_until(self, zone_key: str, now: datetime) -> datetime | None:
        """Return the instant until which the law allows messages to a phone number.

        Return None if messages are not allowed at ``now``. Return ``FOREVER`` if there are no
        rules. ``zone_key`` contains the possible states and time zones of the phone number.
        """
        if not self.rules:
            return FOREVER
        key = parse_zone_key(zone_key)
        return windows.open_until(partial(self._span_of, key.states), key.zones, now)

    def next_open(self, zone_key: str, now: datetime) -> datetime | None:
        """Return the first instant, from ``now`` on, at which the legal hours allow messages.

        Args:
            zone_key: The states and time zones in which a person may be. Messages must be allowed
                in all of them.
            now: The instant from which to search.

        Returns:
            The instant; None if no message is allowed within two weeks.
        """
        if not self.rules:
            return now
        key = parse_zone_key(zone_key)
        return windows.next_open(partial(self._span_of, key.states), key.zones, now)

    def span(self, states: tuple[str, ...], zone: str, day: date) -> Span | None:
        """Return the hours of a local day in which the rules of all given states allow messages.

        Args:
            states: The possible states; if empty, the rules of every state apply.
            zone: The time zone of the local day.

        Returns:
            The beginning and the end; None if the day has no allowed hours.
        """
        return self._span_of(states, zone, day)

    def frequency_cap(self, zone_key: str, now: datetime) -> FrequencyCap | None:
        """Return the legal limit on messages to a phone number; None if no rule limits them.

        If several rules have a limit, the result combines the smallest number of messages with the
        longest period.

        Args:
            zone_key: The states and time zones in which the person with the phone number may be.
            now: The present instant.
        """
        key = parse_zone_key(zone_key)
        days = {now.astimezone(ZoneInfo(zone)).date() for zone in key.zones}
        return _strictest(self._cap_of(key.states, day) for day in days)

    def _applying(self, states: tuple[str, ...], day: date) -> list[ComplianceRule]:
        return [
            rule
            for rule in self.in_force(day)
            if rule.state is None or not states or rule.state in states
        ]

    def _find_span(self, states: tuple[str, ...], zone: str, day: date) -> Span | None:
        weekday = DAYS[day.weekday()]
        spans = [day_span(_ALL_DAY, zone, day)]
        for rule in self._applying(states, day):
            if rule.kind is ComplianceRuleKind.HOLIDAY and is_federal_holiday(day):
                return None
            if weekday not in rule.weekdays:
                continue
            if rule.kind is ComplianceRuleKind.NO_DAY:
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
"""The empty rule book, for the sandbox, which sends no real messages."""


def is_federal_holiday(day: date) -> bool:
    """Return whether a US federal holiday falls on a day or is observed on it."""
    return day in _federal_holidays(day.year)


@lru_cache(maxsize=64)
def _federal_holidays(year: int) -> frozenset[date]:
    import holidays  # noqa: PLC0415 - 3 MB, which only rules about holidays need

    return frozenset(holidays.country_holidays("US", years=year))


def _strictest(caps: Iterable[FrequencyCap | None]) -> FrequencyCap | None:
    known = [cap for cap in caps if cap is not None]
    if not known:
        return None
    return FrequencyCap(min(cap.texts for cap in known), max(cap.hours for cap in known))


SHIPPED = "us"
_LARGEST_FILE = 1_000_000


def load_rules(name: str) -> RuleBook:
    """Load the rules that ``CRM_COMPLIANCE_RULES`` names.

    Args:
        name: ``us``, ``none``, or the path of a JSON file in the format of the shipped ``us.json``.

    Raises:
        SettingsError: The file cannot be read, or a rule in it is invalid. The error text is one
            line.
    """
    if name == NO_RULES.name:
        return NO_RULES
    if name == SHIPPED:
        text = resources.files(__package__).joinpath("us.json").read_bytes()
        return RuleBook(RuleFile.model_validate_json(text).rules, name=SHIPPED)
    try:
        with Path(name).open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise SettingsError(
            f"CRM_COMPLIANCE_RULES: the rule file cannot be read: {error.strerror}"
        ) from error
    if len(text) > _LARGEST_FILE:
        raise SettingsError("CRM_COMPLIANCE_RULES: the rule file is larger than 1 megabyte")
    try:
        return RuleBook(RuleFile.model_validate_json(text).rules, name=name)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = " ".join(str(first["msg"]).split())
    return f"CRM_COMPLIANCE_RULES: {field.lstrip('.') or 'the file'}: {message}"
