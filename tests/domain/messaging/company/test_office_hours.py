"""Since when the office is closed: nights, weekends, holidays and clock changes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from crm_api.domain.messaging.company.office_hours import (
    LOOK_BACK,
    AwaySettings,
    OfficeHours,
    find_closed_since,
)

WORKDAY = [{"start": "08:00", "end": "12:00"}, {"start": "13:00", "end": "17:00"}]
DAYS: dict[str, Any] = {
    "mon": WORKDAY,
    "tue": WORKDAY,
    "fri": WORKDAY,
    "sat": [{"start": "00:00", "end": "02:30"}, {"start": "20:00", "end": "24:00"}],
    "sun": [{"start": "00:00", "end": "02:30"}],
}
BOSTON = OfficeHours.model_validate({"timezone": "America/New_York", "days": DAYS})
HOLIDAY = date(2026, 12, 1)
"""A holiday of the office, on a Tuesday."""


def at(day: int, clock: str, *, month: int = 12) -> datetime:
    """Return the instant of this day and time of 2026 in Boston, in winter time (UTC-5)."""
    hour, minute = clock.split(":")
    return datetime(2026, month, day, int(hour), int(minute), tzinfo=UTC) + timedelta(hours=5)


@pytest.mark.parametrize(
    ("instant", "since"),
    [
        (at(7, "08:00"), None),
        (at(7, "11:59"), None),
        (at(7, "12:00"), at(7, "12:00")),
        (at(7, "12:59"), at(7, "12:00")),
        (at(7, "13:00"), None),
        (at(7, "17:00"), at(7, "17:00")),
        (at(8, "07:59"), at(7, "17:00")),
        # The office has no hours on Wednesdays and Thursdays.
        (at(10, "12:00"), at(8, "17:00")),
        (at(11, "07:59"), at(8, "17:00")),
        # Hours that end at midnight continue in the hours that begin at midnight.
        (at(12, "23:59"), None),
        (at(13, "00:00"), None),
        (at(13, "02:30"), at(13, "02:30")),
        (at(14, "07:59"), at(13, "02:30")),
        # The holiday is a Tuesday. The office closes on Monday evening and opens on Friday, because
        # it has no hours on Wednesdays and Thursdays.
        (at(1, "09:00"), at(30, "17:00", month=11)),
        (at(4, "07:00"), at(30, "17:00", month=11)),
    ],
)
def test_closed_period_begins_when_the_office_last_closed(
    instant: datetime, since: datetime | None
) -> None:
    assert find_closed_since(BOSTON, {HOLIDAY}, instant) == since


def test_office_hours_follow_daylight_saving_time() -> None:
    # On 8 March 2026 the clock jumps from 02:00 to 03:00. Hours that would end between these times
    # end at the jump, which is 03:00 in summer time.
    change = datetime(2026, 3, 8, 7, tzinfo=UTC)

    before = find_closed_since(BOSTON, set(), change - timedelta(minutes=1))
    after = find_closed_since(BOSTON, set(), change)
    monday = find_closed_since(BOSTON, set(), datetime(2026, 3, 9, 12, tzinfo=UTC))

    assert (before, after, monday) == (None, change, None)


def test_office_that_never_opens_is_closed_since_the_start_of_the_search() -> None:
    never = OfficeHours.model_validate({"timezone": "America/New_York", "days": {}})

    assert find_closed_since(never, set(), at(7, "12:00")) == at(7, "12:00") - LOOK_BACK


def test_office_without_known_hours_counts_as_open() -> None:
    holidays = [{"date": "2026-12-07", "name": "Inventory"}]
    away = AwaySettings(reply="Later.", office_hours=None, holidays=holidays)

    assert away.closed_since(at(7, "12:00")) is None


def test_stored_settings_are_read() -> None:
    stored = BOSTON.model_dump(mode="json")
    holidays = [{"date": "2026-12-07", "name": "Inventory"}]
    away = AwaySettings(reply="Later.", office_hours=stored, holidays=holidays)

    assert away.closed_since(at(7, "12:00")) == at(6, "02:30")
    assert away.closed_since(at(8, "08:00")) is None
