"""When a campaign may send: days and window, in one or several time zones, and clock changes."""

from datetime import UTC, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.campaigns.schedule import first_opening, next_open, open_until, resolve_zones
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.kit.windows import DAYS, Window

NEW_YORK = "America/New_York"
CHICAGO = "America/Chicago"
OFFICE = Window.of(DAYS, time(9), time(18))
WEEKDAYS = Window.of(DAYS[:5], time(9), time(18))


def local(zone: str, *at: int, fold: int = 0) -> datetime:
    year, month, day, hour, minute, second = (*at, 0)[:6]
    wall = datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(zone), fold=fold)
    return wall.astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ((2026, 11, 25, 8, 59, 59), False),
        ((2026, 11, 25, 9, 0), True),
        ((2026, 11, 25, 17, 59, 59), True),
        ((2026, 11, 25, 18, 0), False),
    ],
)
def test_window_includes_its_start_and_not_its_end(at: tuple[int, ...], *, is_open: bool) -> None:
    closes = local(NEW_YORK, 2026, 11, 25, 18, 0)

    assert open_until(OFFICE, (NEW_YORK,), local(NEW_YORK, *at)) == (closes if is_open else None)


def test_day_that_the_window_does_not_name_is_closed() -> None:
    saturday = local(NEW_YORK, 2026, 11, 28, 12, 0)

    assert open_until(WEEKDAYS, (NEW_YORK,), saturday) is None
    assert next_open(WEEKDAYS, (NEW_YORK,), saturday) == local(NEW_YORK, 2026, 11, 30, 9, 0)


def test_weekday_is_read_in_the_time_zone() -> None:
    # Monday 00:30 in New York is still Sunday evening in Chicago.
    at = local(NEW_YORK, 2026, 11, 30, 0, 30)
    late = Window.of(["mon"], time(0), time(3))

    assert open_until(late, (NEW_YORK,), at) is not None
    assert open_until(late, (CHICAGO,), at) is None


def test_all_zones_must_be_open_and_the_first_to_close_decides() -> None:
    zones = (CHICAGO, NEW_YORK)

    assert open_until(OFFICE, zones, local(NEW_YORK, 2026, 11, 25, 9, 30)) is None
    assert open_until(OFFICE, zones, local(CHICAGO, 2026, 11, 25, 9, 0)) == local(
        NEW_YORK, 2026, 11, 25, 18, 0
    )
    assert open_until(OFFICE, zones, local(CHICAGO, 2026, 11, 25, 17, 30)) is None


def test_opening_of_several_zones_is_the_opening_of_the_last_one() -> None:
    zones = (CHICAGO, NEW_YORK)

    assert next_open(OFFICE, zones, local(NEW_YORK, 2026, 11, 25, 9, 30)) == local(
        CHICAGO, 2026, 11, 25, 9, 0
    )


def test_next_opening_of_an_open_window_is_now() -> None:
    now = local(NEW_YORK, 2026, 11, 25, 12, 34, 56)

    assert next_open(OFFICE, (NEW_YORK,), now) == now


def test_next_opening_after_closing_is_tomorrow() -> None:
    after = local(NEW_YORK, 2026, 11, 25, 18, 0)

    assert next_open(OFFICE, (NEW_YORK,), after) == local(NEW_YORK, 2026, 11, 26, 9, 0)


def test_zones_that_are_never_open_together_have_no_opening() -> None:
    morning = Window.of(DAYS, time(9), time(11))

    assert next_open(
        morning, (NEW_YORK, "Pacific/Honolulu"), datetime(2026, 11, 25, tzinfo=UTC)
    ) is (None)


def test_window_without_days_never_opens() -> None:
    no_days = Window.of([], time(9), time(18))

    assert next_open(no_days, (NEW_YORK,), datetime(2026, 11, 25, tzinfo=UTC)) is None


def test_window_of_one_weekday_opens_again_a_week_later() -> None:
    tuesdays = Window.of(["tue"], time(9), time(9, 1))

    assert next_open(tuesdays, (NEW_YORK,), local(NEW_YORK, 2026, 11, 24, 9, 1)) == local(
        NEW_YORK, 2026, 12, 1, 9, 0
    )


US = load_rules("us")


def find_first_opening(window: Window, zone_key: str, at: datetime) -> datetime | None:
    legal = partial(US.next_open, zone_key)
    return first_opening(window, (NEW_YORK,), at, legal=legal)


def test_first_opening_is_the_first_instant_that_window_and_law_allow() -> None:
    evening = local(NEW_YORK, 2026, 11, 25, 19, 0)
    early = Window.of(DAYS, time(6), time(9))

    assert find_first_opening(early, "MA/America/New_York", evening) == local(
        NEW_YORK, 2026, 11, 26, 8, 0
    )


def test_day_without_common_hours_is_skipped() -> None:
    # Rhode Island allows messages from 09:00 on weekdays and from 10:00 on weekends. So the window
    # has no lawful time on Saturday and Sunday.
    mornings = Window.of(["fri", "sat", "sun"], time(9), time(9, 30))
    friday_noon = local(NEW_YORK, 2026, 11, 27, 12, 0)

    assert find_first_opening(mornings, "RI/America/New_York", friday_noon) == local(
        NEW_YORK, 2026, 12, 4, 9, 0
    )


def test_opening_after_two_holidays_in_a_row_is_found() -> None:
    # Alabama allows no messages on holidays. Christmas 2026 and New Year's Day 2027 are both
    # Fridays.
    fridays = Window.of(["fri"], time(10), time(11))
    after = local(NEW_YORK, 2026, 12, 18, 12, 0)

    assert find_first_opening(fridays, "AL/America/New_York", after) == local(
        NEW_YORK, 2027, 1, 8, 10, 0
    )


@pytest.mark.parametrize(
    "window",
    [
        Window.of(DAYS, time(5), time(8)),
        Window.of(["sun"], time(8), time(22)),
        Window.of([], time(9), time(18)),
    ],
)
def test_window_outside_all_legal_hours_has_no_opening(window: Window) -> None:
    at = local(NEW_YORK, 2026, 11, 25, 12, 0)

    assert find_first_opening(window, "AL/America/New_York", at) is None


@pytest.mark.parametrize("end", [time(23, 59), time.max])
def test_last_minute_of_the_day_means_midnight(end: time) -> None:
    always = Window.of(DAYS, time(0), end)
    last_second = local(NEW_YORK, 2026, 11, 25, 23, 59, 59)

    assert open_until(always, (NEW_YORK,), last_second) == local(NEW_YORK, 2026, 11, 26, 0, 0)


# In 2026 New York moves the clock forward on 8 March, 02:00, and back on 1 November, 02:00.


def test_window_is_nine_hours_on_the_day_clocks_change() -> None:
    for day, opens_utc in (((2026, 3, 8), 13), ((2026, 11, 1), 14)):
        opens = local(NEW_YORK, *day, 9, 0)

        assert opens.hour == opens_utc
        assert open_until(OFFICE, (NEW_YORK,), opens) == opens + timedelta(hours=9)


def test_opening_moves_with_the_clock() -> None:
    assert next_open(OFFICE, (NEW_YORK,), local(NEW_YORK, 2026, 3, 7, 20, 0)) == datetime(
        2026, 3, 8, 13, 0, tzinfo=UTC
    )
    assert next_open(OFFICE, (NEW_YORK,), local(NEW_YORK, 2026, 10, 31, 20, 0)) == datetime(
        2026, 11, 1, 14, 0, tzinfo=UTC
    )


def test_window_of_a_full_day_is_as_long_as_that_day() -> None:
    always = Window.of(DAYS, time(0), time.max)
    for day, hours in (((2026, 3, 8), 23), ((2026, 11, 1), 25), ((2026, 11, 2), 24)):
        midnight = local(NEW_YORK, *day, 0, 0)

        assert open_until(always, (NEW_YORK,), midnight) == midnight + timedelta(hours=hours)


def test_start_inside_the_skipped_hour_is_the_clock_change() -> None:
    early = Window.of(DAYS, time(2, 30), time(9))
    clock_change = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)

    assert next_open(early, (NEW_YORK,), local(NEW_YORK, 2026, 3, 8, 0, 0)) == clock_change
    assert open_until(early, (NEW_YORK,), clock_change - timedelta(seconds=1)) is None


def test_end_inside_the_skipped_hour_is_the_clock_change() -> None:
    night = Window.of(DAYS, time(0), time(2, 30))
    clock_change = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)

    assert open_until(night, (NEW_YORK,), clock_change - timedelta(seconds=1)) == clock_change
    assert open_until(night, (NEW_YORK,), clock_change) is None


def test_window_inside_the_skipped_hour_does_not_open_that_day() -> None:
    skipped_window = Window.of(DAYS, time(2, 10), time(2, 50))

    assert next_open(skipped_window, (NEW_YORK,), local(NEW_YORK, 2026, 3, 8, 0, 0)) == local(
        NEW_YORK, 2026, 3, 9, 2, 10
    )


def test_start_inside_the_repeated_hour_is_its_second_occurrence() -> None:
    early = Window.of(DAYS, time(1, 30), time(9))
    second = local(NEW_YORK, 2026, 11, 1, 1, 30, fold=1)

    assert next_open(early, (NEW_YORK,), local(NEW_YORK, 2026, 11, 1, 0, 0)) == second
    assert open_until(early, (NEW_YORK,), second - timedelta(minutes=1)) is None


def test_end_inside_the_repeated_hour_is_its_first_occurrence() -> None:
    night = Window.of(DAYS, time(0), time(1, 30))
    first = local(NEW_YORK, 2026, 11, 1, 1, 30)

    assert open_until(night, (NEW_YORK,), local(NEW_YORK, 2026, 11, 1, 0, 0)) == first
    assert open_until(night, (NEW_YORK,), local(NEW_YORK, 2026, 11, 1, 1, 10, fold=1)) is None


def test_window_inside_the_repeated_hour_opens_at_the_first_occurrence() -> None:
    inside = Window.of(DAYS, time(1, 10), time(1, 50))
    first = local(NEW_YORK, 2026, 11, 1, 1, 10)

    assert next_open(inside, (NEW_YORK,), local(NEW_YORK, 2026, 11, 1, 0, 0)) == first
    assert open_until(inside, (NEW_YORK,), first) == local(NEW_YORK, 2026, 11, 1, 1, 50)


def test_clock_change_of_half_an_hour_is_supported() -> None:
    # On Lord Howe Island the clock changes by half an hour: on 5 April 2026 from 02:00 back to
    # 01:30.
    zone = "Australia/Lord_Howe"
    midnight = local(zone, 2026, 4, 5, 0, 0)
    always = Window.of(DAYS, time(0), time.max)

    assert open_until(always, (zone,), midnight) == midnight + timedelta(hours=24, minutes=30)


@given(
    minutes=st.integers(0, 366 * 24 * 60),
    start=st.integers(0, 23 * 60),
    length=st.integers(1, 12 * 60),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    zones=st.sets(
        st.sampled_from([NEW_YORK, CHICAGO, "America/Phoenix", "America/Denver"]), min_size=1
    ),
)
def test_open_instant_is_inside_the_hours_of_the_window(
    minutes: int, start: int, length: int, days: set[str], zones: set[str]
) -> None:
    end = min(start + length, 23 * 60 + 58)
    if end <= start:
        return
    window = Window.of(days, time(*divmod(start, 60)), time(*divmod(end, 60)))
    named = tuple(sorted(zones))
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)

    closes = open_until(window, named, now)
    opening = next_open(window, named, now)

    for zone in named:
        if closes is not None:
            wall = now.astimezone(ZoneInfo(zone))
            assert DAYS[wall.weekday()] in days
            assert window.start <= wall.time() < window.end
    if closes is not None:
        assert opening == now < closes
    elif opening is not None:
        assert opening > now
        assert open_until(window, named, opening) is not None
        assert open_until(window, named, opening - timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    ("campaign", "zones"),
    [
        (None, (NEW_YORK,)),
        ("America/Denver", ("America/Denver",)),
        ("recipient", ("America/Chicago", "America/Denver")),
    ],
)
def test_zones_come_from_the_line_the_campaign_or_the_recipient(
    campaign: str | None, zones: tuple[str, ...]
) -> None:
    key = "TX/America/Chicago,America/Denver"

    assert resolve_zones(campaign, NEW_YORK, key) == zones
