"""Recurrence rules: occurrences across clock changes, ends, and refused rules."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.recurrence import (
    InvalidRuleError,
    RecurrenceRule,
    occurrence_columns,
)

NEW_YORK = ZoneInfo("America/New_York")


def local_times(rule: str, *, begins: str, days: int) -> list[str]:
    """Return the occurrences of a rule in New York's local time."""
    start = datetime.fromisoformat(begins).replace(tzinfo=NEW_YORK)
    found = RecurrenceRule.parse(rule).occurrences(
        begins=start.astimezone(UTC),
        until=start + timedelta(days=days),
        zone=NEW_YORK,
    )
    return [f"{at.astimezone(NEW_YORK):%m-%d %H:%M}" for at in found]


@pytest.mark.parametrize(
    ("rule", "begins", "days", "found"),
    [
        # The clocks change on 1 November 2026 and on 14 March 2027.
        (
            "FREQ=WEEKLY;BYDAY=MO",
            "2026-10-26T10:00",
            14,
            ["10-26 10:00", "11-02 10:00", "11-09 10:00"],
        ),
        ("RRULE:FREQ=DAILY;COUNT=2;", "2027-03-13T09:00", 9, ["03-13 09:00", "03-14 09:00"]),
        # 02:30 does not exist on 14 March 2027, and 01:30 exists twice on 1 November 2026.
        (
            "FREQ=DAILY",
            "2027-03-13T02:30",
            2,
            ["03-13 02:30", "03-14 03:30", "03-15 02:30"],
        ),
        (
            "FREQ=DAILY",
            "2026-10-31T01:30",
            2,
            ["10-31 01:30", "11-01 01:30", "11-02 01:30"],
        ),
        # 02:00 and 02:30 do not exist on 14 March 2027. They are moved to 03:00 and 03:30, which
        # are occurrences, too. Each instant is one occurrence, also for COUNT.
        (
            "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,30;COUNT=4",
            "2027-03-14T01:00",
            2,
            ["03-14 03:00", "03-14 03:30", "03-15 02:00", "03-15 02:30"],
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=31",
            "2026-12-31T09:00",
            120,
            ["12-31 09:00", "01-31 09:00", "03-31 09:00"],
        ),
        ("freq=monthly;byday=-1fr", "2026-11-27T09:00", 35, ["11-27 09:00", "12-25 09:00"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2027-01-01T09:00", 800, ["02-29 09:00"]),
        ("FREQ=DAILY;UNTIL=20261102", "2026-11-01T09:00", 9, ["11-01 09:00", "11-02 09:00"]),
        ("FREQ=DAILY;UNTIL=20261102T135959Z", "2026-11-01T09:00", 9, ["11-01 09:00"]),
        (
            "FREQ=DAILY;UNTIL=20261102T090000",
            "2026-11-01T09:00",
            9,
            ["11-01 09:00", "11-02 09:00"],
        ),
        (
            "FREQ=DAILY;BYHOUR=8,17",
            "2026-11-01T08:00",
            1,
            ["11-01 08:00", "11-01 17:00", "11-02 08:00"],
        ),
        ("FREQ=DAILY;BYMONTH=13", "2026-11-02T08:00", 300, []),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "2026-11-02T08:00", 8, ["11-02 08:00", "11-09 08:00"]),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=TU", "2026-11-02T08:00", 300, []),
    ],
)
def test_occurrences_keep_their_local_time(
    rule: str, begins: str, days: int, found: list[str]
) -> None:
    assert local_times(rule, begins=begins, days=days) == found


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=HOURLY", "FREQ must be"),
        ("INTERVAL=2", "FREQ must be"),
        ("hello", "HELLO"),
        ("FREQ=WEEKLY;BYDAY=XX", "cannot be read"),
        ("FREQ=MONTHLY;BYDAY=99MO", "cannot be read"),
        ("FREQ=DAILY;BYHOUR=99", "cannot be read"),
        ("FREQ=DAILY;BYSECOND=5", "BYSECOND"),
        ("FREQ=DAILY;DTSTART=20260101", "DTSTART"),
        ("FREQ=DAILY;FREQ=WEEKLY", "twice"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=DAILY;COUNT=99999999999999999999", "COUNT"),
        ("FREQ=DAILY;INTERVAL=²", "INTERVAL"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101", "not both"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
        ("FREQ=DAILY;BYHOUR=8,9,10;BYMINUTE=0,30", "times of day"),
        ("FREQ=DAILY;" + "BYDAY=MO," * 100, "longer than 500"),
    ],
)
def test_invalid_rule_is_refused_with_a_sentence(rule: str, words: str) -> None:
    with pytest.raises(InvalidRuleError, match=words):
        RecurrenceRule.parse(rule)


def test_end_of_a_repetition_keeps_its_local_time() -> None:
    begins = datetime(2026, 10, 26, 10, tzinfo=NEW_YORK).astimezone(UTC)
    campaign = Campaign(
        name="Spring",
        start_at=begins,
        end_at=datetime(2026, 10, 30, 17, tzinfo=NEW_YORK).astimezone(UTC),
        recurrence={"rrule": "FREQ=WEEKLY", "timezone": "America/New_York", "paused": False},
        author_ids=[],
    )
    # The clocks change on 1 November 2026.
    repeated = occurrence_columns(
        campaign, datetime(2026, 10, 31, 10, tzinfo=NEW_YORK).astimezone(UTC)
    )

    assert repeated["end_at"] == datetime(2026, 11, 4, 17, tzinfo=NEW_YORK)
