from datetime import UTC, datetime, timedelta

import pytest
from tests.domain.inbound.webhook_health.traffic import (
    ZONE,
    Rate,
    alarms,
    campaigns,
    episodes,
    events,
    office,
    seeded,
)

from crm_api.domain.inbound.webhook_health import silence_check

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
WEDNESDAY = datetime(2026, 9, 16, 15, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SEEDS = (1, 2, 3)


def test_same_span_of_the_last_eight_weeks_is_compared() -> None:
    spans = silence_check.earlier_spans(WEDNESDAY - HOUR, WEDNESDAY, first_at=LONG_AGO, zone=ZONE)

    assert len(spans) == 8
    assert spans[0] == (WEDNESDAY - HOUR - timedelta(days=7), WEDNESDAY - timedelta(days=7))
    assert all(starts.weekday() == WEDNESDAY.weekday() for starts, _ in spans)


def test_clock_change_keeps_the_hour_of_the_day() -> None:
    now = datetime(2026, 11, 4, 15, 0, tzinfo=UTC)

    spans = silence_check.earlier_spans(now - HOUR, now, first_at=LONG_AGO, zone=ZONE)

    assert [ends.hour for _, ends in spans] == [14] * 8


def test_weeks_before_the_first_event_do_not_count() -> None:
    first_at = WEDNESDAY - timedelta(days=30)

    spans = silence_check.earlier_spans(WEDNESDAY - HOUR, WEDNESDAY, first_at=first_at, zone=ZONE)

    assert len(spans) == 4
    assert silence_check.earlier_spans(WEDNESDAY, WEDNESDAY, first_at=None, zone=ZONE) == []


def test_silence_of_weeks_is_compared_as_a_silence_of_one_week() -> None:
    since = WEDNESDAY - timedelta(days=40)

    spans = silence_check.earlier_spans(since, WEDNESDAY, first_at=LONG_AGO, zone=ZONE)

    assert all(ends - starts == silence_check.LONGEST for starts, ends in spans)


@pytest.mark.parametrize(
    ("counts", "is_unusual"),
    [
        ([12, 10, 11, 12, 9, 12, 11, 10], True),
        ([12, 11, 12, 12], True),
        ([2, 3, 1, 2, 3, 2, 2, 1], False),
        ([0, 0, 0, 0, 0, 0, 0, 0], False),
        ([80, 0, 0, 0, 75, 0, 0, 0], False),
        ([12, 11, 12], False),
        ([], False),
    ],
    ids=["usual", "four weeks", "few", "never", "some weeks only", "three weeks", "no record"],
)
def test_silence_is_unusual_only_where_events_always_come(
    counts: list[int], *, is_unusual: bool
) -> None:
    assert silence_check.judge_silence(counts, now=WEDNESDAY, zone=ZONE).is_unusual is is_unusual


@pytest.mark.parametrize("day", [datetime(2026, 11, 26, 16, tzinfo=UTC)])
def test_silence_on_a_holiday_is_not_unusual(day: datetime) -> None:
    verdict = silence_check.judge_silence([12] * 8, now=day, zone=ZONE)

    assert not verdict.is_unusual
    assert verdict.why_not == "it is a federal holiday"


def test_chance_falls_with_the_usual_count_and_rises_with_uncertainty() -> None:
    chance = silence_check.chance_of_none

    assert chance([5] * 8) > chance([10] * 8) > chance([20] * 8)
    assert chance([10] * 4) > chance([10] * 8)
    assert chance([20, 0] * 4) > chance([10] * 8)


@pytest.mark.parametrize("rate", [office(0.5), office(30), campaigns(8)])
def test_year_of_checks_raises_at_most_one_false_alarm(rate: Rate) -> None:
    """Test that a year of checks raises on average at most one false alarm, for any traffic."""
    found = 0
    for seed in SEEDS:
        times = events(BEGIN, hours=168 * 60, rate=rate, random=seeded(seed))
        raised = alarms(times, begin=BEGIN + timedelta(weeks=8), end=BEGIN + timedelta(weeks=60))
        found += episodes(raised)

    assert found <= len(SEEDS), SEEDS


@pytest.mark.parametrize(
    ("rate", "hours"), [(office(30), 2), (office(8), 3), (office(2), 8), (campaigns(8), 3)]
)
def test_outage_in_office_hours_raises_an_alarm_in_time(rate: Rate, hours: int) -> None:
    cut = BEGIN + timedelta(weeks=20, days=1, hours=15)
    for seed in SEEDS:
        times = events(BEGIN, hours=168 * 21, rate=rate, random=seeded(seed))
        raised = alarms([at for at in times if at < cut], begin=cut, end=cut + timedelta(days=2))

        assert raised, seed
        assert raised[0] - cut <= timedelta(hours=hours), seed
