"""Synthetic webhook traffic of business weeks, hour by hour: steady, or with large campaigns."""

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from crm_api.domain.inbound.webhook_health import silence_check

ZONE = "America/New_York"
Rate = Callable[[datetime, Random], float]


def office(hour_rate: float) -> Rate:
    """Return the event rate of an office: high in office hours, a twentieth by day, 0 at night."""

    def rate(at: datetime, _random: Random) -> float:
        local = at.astimezone(ZoneInfo(ZONE))
        if local.weekday() < 5 and 9 <= local.hour < 18:
            return hour_rate
        return hour_rate / 20 if 7 <= local.hour < 22 else 0.0

    return rate


def campaigns(hour_rate: float) -> Rate:
    """Return the office rate, plus 300 reports an hour in one of five weekday hours, at random.

    These hours, in which a campaign sends, are between 09:00 and 16:00.
    """
    usual = office(hour_rate)

    def rate(at: datetime, random: Random) -> float:
        local = at.astimezone(ZoneInfo(ZONE))
        is_campaign = local.weekday() < 5 and 9 <= local.hour < 16 and random.random() < 0.2
        return usual(at, random) + (300.0 if is_campaign else 0.0)

    return rate


def events(begin: datetime, *, hours: int, rate: Rate, random: Random) -> list[datetime]:
    """Return the random instants of events at this rate, in order."""
    found: list[datetime] = []
    for hour in range(hours):
        at = begin + timedelta(hours=hour)
        expected, passed = rate(at, random), 0.0
        while expected > 0:
            passed += random.expovariate(expected)
            if passed >= 1:
                break
            found.append(at + timedelta(hours=passed))
    return found


def alarms(times: list[datetime], *, begin: datetime, end: datetime) -> list[datetime]:
    """Check every hour; return the instants at which the rule calls the silence unusual."""
    found: list[datetime] = []
    now = begin
    while now <= end:
        place = bisect_right(times, now)
        since = times[place - 1] if place else now - silence_check.LONGEST
        spans = silence_check.earlier_spans(
            since, now, first_at=times[0] if place else None, zone=ZONE
        )
        counts = [len(_slots(times, starts, ends)) for starts, ends in spans]
        if silence_check.judge_silence(counts, now=now, zone=ZONE).is_unusual:
            found.append(now)
        now += timedelta(hours=1)
    return found


def _slots(times: list[datetime], starts: datetime, ends: datetime) -> set[int]:
    found = times[bisect_right(times, starts) : bisect_right(times, ends)]
    return {int(at.timestamp() // silence_check.SLOT.total_seconds()) for at in found}


def episodes(found: list[datetime]) -> int:
    """Return how many alarms a user would get; consecutive checks raise one alarm."""
    return sum(
        1
        for place, at in enumerate(found)
        if place == 0 or at - found[place - 1] > timedelta(hours=1)
    )


def seeded(seed: int) -> Random:
    """Return a generator with a fixed seed."""
    return Random(seed)  # noqa: S311 - repeatable traffic, no secret
