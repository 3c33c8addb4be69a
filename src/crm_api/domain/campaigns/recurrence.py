"""Campaigns that are repeated: recurrence rules, and the occurrences of a series.

Only the first campaign of a series has a recurrence rule. For each further occurrence, a draft is
created with the content of the first campaign. The ``start_at`` of the draft is the instant of the
occurrence.

Source: RFC 5545, sections 3.3.10 (recurrence rule) and 3.3.5 (local times at clock changes).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from pydantic import AfterValidator, StrictBool
from pydantic_core import PydanticCustomError

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text, TimeZoneName
from crm_api.domain.kit.schemas import RequestModel

LONGEST_RULE = 500
LOOK_AHEAD = timedelta(days=5 * 366)
"""How far ahead an occurrence is searched. The longest usual gap between two occurrences is four
years, for a rule that repeats a campaign on 29 February."""
MOST_A_DAY = 4
MOST_REPEATS = 1_000
"""The largest value of INTERVAL and COUNT."""
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_PARTS = frozenset(
    {
        "FREQ",
        "INTERVAL",
        "COUNT",
        "UNTIL",
        "BYDAY",
        "BYMONTHDAY",
        "BYMONTH",
        "BYYEARDAY",
        "BYWEEKNO",
        "BYSETPOS",
        "BYHOUR",
        "BYMINUTE",
        "WKST",
    }
)
_ANY_START = datetime(2024, 1, 1, 9)  # noqa: DTZ001 - a local time


class InvalidRuleError(ValueError):
    """A recurrence rule has a fault. The text of the error says what to correct."""


@dataclass(frozen=True, kw_only=True)
class RecurrenceRule:
    """A recurrence rule.

    Attributes:
        pattern: The rule without ``COUNT`` and ``UNTIL``.
        count: The maximum number of occurrences; None if the rule sets no maximum.
        until: The end of the rule: a local time, an instant or a day. There are no occurrences
            after this end. None if the rule has no end.
    """

    pattern: str
    count: int | None
    until: datetime | date | None

    @classmethod
    def parse(cls, rule: str) -> "RecurrenceRule":
        """Read a rule such as ``FREQ=WEEKLY;BYDAY=MO;UNTIL=20271231``.

        Raises:
            InvalidRuleError: The rule has a fault, or is not supported.
        """
        parts = _split(rule)
        frequency = parts.get("FREQ")
        if frequency not in _FREQUENCIES:
            raise InvalidRuleError(
                f"FREQ must be one of {', '.join(_FREQUENCIES)}. To repeat a campaign several "
                f"times a day (at most {MOST_A_DAY}), set BYHOUR or BYMINUTE."
            )
        for name in ("INTERVAL", "COUNT"):
            if name in parts and not 1 <= _number(parts[name]) <= MOST_REPEATS:
                raise InvalidRuleError(f"{name} must be a number from 1 to {MOST_REPEATS}.")
        if "COUNT" in parts and "UNTIL" in parts:
            raise InvalidRuleError("A rule may have COUNT or UNTIL, not both. Remove one of them.")
        times = [len(parts.get(name, "0").split(",")) for name in ("BYHOUR", "BYMINUTE")]
        if times[0] * times[1] > MOST_A_DAY:
            raise InvalidRuleError(
                f"The rule names more than {MOST_A_DAY} times of day. Remove values from BYHOUR or "
                "BYMINUTE."
            )
        count = _number(parts.pop("COUNT")) if "COUNT" in parts else None
        until = _read_end(parts.pop("UNTIL")) if "UNTIL" in parts else None
        found = cls(
            pattern=";".join(f"{name}={value}" for name, value in parts.items()),
            count=count,
            until=until,
        )
        # Some faults of a rule are found only when its occurrences are computed. So the first
        # occurrence is computed here.
        next(found._local_times(_ANY_START, _ANY_START + LOOK_AHEAD), None)
        return found

    def occurrences(
        self, *, begins: datetime, until: datetime, zone: ZoneInfo
    ) -> Iterator[datetime]:
        """Yield the instants (occurrences) at which the rule repeats a campaign, in UTC.

        ``begins`` and ``until`` are included. Occurrences later than 38 years after ``begins`` may
        be missing.

        An occurrence keeps its local time. If a change of the clocks skips this local time, the
        occurrence is an hour later. If a change of the clocks repeats this local time, the earlier
        of the two instants is used.

        Args:
            begins: The instant from which ``INTERVAL`` and ``COUNT`` are computed. If the rule sets
                no time of day, the occurrences have the time of day of ``begins``.
            zone: The time zone of the rule.
        """
        start = begins.astimezone(zone).replace(tzinfo=None, microsecond=0)
        horizon = until.astimezone(zone).replace(tzinfo=None) + timedelta(days=1)
        last = min(until, self._last(zone))
        previous: datetime | None = None
        left = self.count
        for local in self._local_times(start, horizon):
            at = local.replace(tzinfo=zone).astimezone(UTC)
            if at > last or left == 0:
                return
            # In the hour that a change to summer time skips, a local time is moved by an hour. So
            # it may be equal to a later local time.
            if previous is None or at > previous:
                yield at
                previous = at
                left = None if left is None else left - 1

    def _local_times(self, start: datetime, horizon: datetime) -> Iterator[datetime]:
        # If a rule never matches, dateutil checks every day until the year 9999, which takes 5 s.
        # So the search is done in years near 9999 that have the same calendar. Then it takes at
        # most 50 ms.
        shift = _alike_year(start.year) - start.year
        is_near = horizon.year + shift <= MAXYEAR
        end = _moved(horizon, shift) if is_near else datetime(MAXYEAR, 12, 31)  # noqa: DTZ001
        text = f"{self.pattern};UNTIL={end:%Y%m%dT%H%M%S}"
        try:
            for local in rrulestr(text, dtstart=_moved(start, shift)):
                yield _moved(local, -shift)
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            raise InvalidRuleError(
                f"The rule cannot be read: {error}. Write it as in RFC 5545, such as "
                "FREQ=WEEKLY;BYDAY=MO."
            ) from error

    def _last(self, zone: ZoneInfo) -> datetime:
        end = self.until
        if end is None:
            return datetime.max.replace(tzinfo=UTC)
        if not isinstance(end, datetime):
            end = datetime.combine(end, time.max)
        return end if end.tzinfo is not None else end.replace(tzinfo=zone)


def _moved(local: datetime, years: int) -> datetime:
    return local.replace(year=local.year + years)


def _alike_year(year: int) -> int:
    """Return a year from 9934 to 9961 that has the same calendar as ``year``.

    The library ``dateutil`` may search for an occurrence until the year 9999. So a search is fast
    if it begins shortly before the year 9999. The year after ``year`` also has the same calendar as
    the year after the result, and so on. This ends in 2100, because 2100 is not a leap year.
    """
    first = date(year, 1, 1).weekday()
    return next(
        alike
        for alike in range(9934, 9962)
        if alike % 4 == year % 4 and date(alike, 1, 1).weekday() == first
    )


def _split(rule: str) -> dict[str, str]:
    text = rule.strip().upper().removeprefix("RRULE:")
    if len(text) > LONGEST_RULE:
        raise InvalidRuleError(f"The rule is longer than {LONGEST_RULE} characters. Shorten it.")
    parts: dict[str, str] = {}
    for part in text.removesuffix(";").split(";"):
        name, sign, value = part.partition("=")
        if name not in _PARTS or not sign or not value:
            raise InvalidRuleError(
                f"The part {part[:40] or '(empty)'} of the rule is not supported. Supported parts: "
                f"{', '.join(sorted(_PARTS))}."
            )
        if name in parts:
            raise InvalidRuleError(f"The rule has {name} twice. Remove one of the two.")
        parts[name] = value
    return parts


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def _read_end(text: str) -> datetime | date:
    for form, is_day in (("%Y%m%d", True), ("%Y%m%dT%H%M%S", False), ("%Y%m%dT%H%M%SZ", False)):
        try:
            found = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
        except ValueError:
            continue
        if is_day:
            return found.date()
        return found.replace(tzinfo=UTC) if text.endswith("Z") else found
    raise InvalidRuleError(
        "UNTIL must be a day such as 20271231, or a time such as 20271231T170000Z."
    )


def _known_rule(value: str) -> str:
    try:
        RecurrenceRule.parse(value)
    except InvalidRuleError as error:
        raise PydanticCustomError("recurrence_rule", "{detail}", {"detail": str(error)}) from error
    return value


class Recurrence(RequestModel):
    """How a campaign is repeated.

    Each occurrence after the first gets a draft 14 days before its start.

    Attributes:
        rrule: The rule, as in RFC 5545. ``FREQ`` is ``DAILY``, ``WEEKLY``, ``MONTHLY`` or
            ``YEARLY``. The occurrences are counted from ``start_at`` of the campaign. Without
            ``start_at``, they are counted from the day of the campaign's creation, at the beginning
            of the daily hours. ``BYHOUR`` and ``BYMINUTE`` change the time of day.
        timezone: The IANA time zone of the rule. Occurrences keep their local time at clock
            changes.
        paused: True pauses the repetition: the service creates no drafts.
    """

    model_config = example(rrule="FREQ=WEEKLY;BYDAY=MO", timezone="America/New_York")

    rrule: Annotated[str, Text(shortest=1, longest=LONGEST_RULE), AfterValidator(_known_rule)]
    timezone: TimeZoneName
    paused: StrictBool = False


DRAFTED_AHEAD = timedelta(days=14)
"""How long before its start the draft of an occurrence is created. Because of this limit, even a
series without an end has only a few drafts."""


def begins_at(campaign: Campaign) -> datetime:
    """Return the instant at which the recurrence of a campaign begins.

    All occurrences are computed from this instant. If the campaign has a ``start_at``, the result
    is ``start_at``. If not, the result is the beginning of the daily sending hours on the day on
    which the campaign was created.
    """
    if campaign.start_at is not None:
        return campaign.start_at
    zone = _zone(campaign)
    day = campaign.created_at.astimezone(zone).date()
    return datetime.combine(day, campaign.window_start, zone).astimezone(UTC)


def occurrences(campaign: Campaign, *, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the occurrences of a repeated campaign after ``after`` and up to ``until``, in order.

    The first occurrence, which is the start of the campaign itself, is left out. Nothing is yielded
    if the repetition is paused, or if its rule is invalid.
    """
    if campaign.recurrence is None or campaign.recurrence["paused"]:
        return
    first = begins_at(campaign)
    try:
        rule = RecurrenceRule.parse(campaign.recurrence["rrule"])
        for at in rule.occurrences(begins=first, until=until, zone=_zone(campaign)):
            if at > first and at > after:
                yield at
    except InvalidRuleError:
        return


def next_occurrence(campaign: Campaign, *, after: datetime) -> datetime | None:
    """Return the first instant after ``after`` at which a campaign is repeated.

    The result is None if the repetition is paused, or if the campaign is not repeated in the five
    years after ``after``.
    """
    return next(occurrences(campaign, after=after, until=after + LOOK_AHEAD), None)


def occurrence_columns(campaign: Campaign, at: datetime) -> dict[str, Any]:
    """Return column values for a repetition of a campaign, such as its name and its start.

    The result does not contain the content, such as the audience and the follow-ups. The caller
    copies the content from the campaign.

    Args:
        campaign: The repeated campaign.
        at: When the repetition starts.
    """
    zone = _zone(campaign)
    local = at.astimezone(zone)
    end_at = campaign.end_at
    if end_at is not None:
        # The duration is computed in local time, so the end keeps its time of day.
        begin = begins_at(campaign).astimezone(zone).replace(tzinfo=None)
        duration = end_at.astimezone(zone).replace(tzinfo=None) - begin
        end_at = (local.replace(tzinfo=None) + duration).replace(tzinfo=zone).astimezone(UTC)
    suffix = f" ({local:%Y-%m-%d})"
    return {
        "name": campaign.name[: _LONGEST_NAME - len(suffix)] + suffix,
        "start_at": at,
        "end_at": end_at,
        "series_id": campaign.id,
        "occurrence_at": at,
        "author_ids": campaign.author_ids,
    }


_LONGEST_NAME = 200


def _zone(campaign: Campaign) -> ZoneInfo:
    return ZoneInfo(campaign.recurrence["timezone"] if campaign.recurrence else "UTC")
