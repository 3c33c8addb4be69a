"""The shipped legal rules: opening and closing, clock changes, several states and time zones."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.consent.legal_rules.rules import (
    FOREVER,
    NO_RULES,
    FrequencyCap,
    RuleBook,
    load_rules,
)
from crm_api.domain.consent.legal_rules.schemas import ComplianceRule, ComplianceRuleKind
from crm_api.domain.kit import regions
from crm_api.domain.kit.zones import ZoneKey, zone_key

US = load_rules("us")
MINUTE = timedelta(minutes=1)
ANYWHERE = str(ZoneKey((), regions.ANYWHERE))

# The legal hours of each state on the days in `DAYS`. A row of `HOURS` has three values: for Monday
# to Friday, for Saturday and for Sunday. None means that no message may be sent. A rule that is in
# force only on other days has its case in `FIRST_DAYS`.
EVERY_DAY = {
    "GA": "08:00-21:00",
    "MA": "08:00-20:00",
    "CT": "09:00-20:00",
    "FL": "08:00-20:00",
    "OK": "08:00-20:00",
    "MD": "08:00-20:00",
    "OR": "08:00-20:00",
    "WA": "08:00-20:00",
    "NJ": "08:00-20:00",
    "VA": "08:00-21:00",
    "KY": "10:00-21:00",
    "NV": "09:00-20:00",
    "MN": "09:00-21:00",
    "MI": "09:00-21:00",
    "NM": "09:00-21:00",
    "CA": "09:00-21:00",
    "IL": "09:00-21:00",
}
HOURS: dict[str, tuple[str, str, str | None]] = {
    **{state: (hours, hours, hours) for state, hours in EVERY_DAY.items()},
    "RI": ("09:00-18:00", "10:00-17:00", "10:00-17:00"),
    "TX": ("09:00-21:00", "09:00-21:00", "12:00-21:00"),
    **dict.fromkeys(("AL", "LA", "MS"), ("08:00-20:00", "08:00-20:00", None)),
}
DAYS = {
    "mon": (date(2026, 11, 23), 0),
    "fri": (date(2026, 11, 27), 0),
    "sat": (date(2026, 11, 28), 1),
    "sun": (date(2026, 11, 29), 2),
}
# Each row: a state, the first day of its rule, the hours before this day, and the hours from this
# day on.
FIRST_DAYS = [
    ("CT", date(2023, 10, 1), "08:00-21:00", "09:00-20:00"),
    ("MD", date(2024, 1, 1), "08:00-21:00", "08:00-20:00"),
    ("OR", date(2026, 1, 1), "08:00-21:00", "08:00-20:00"),
    ("WA", date(2022, 6, 9), "08:00-21:00", "08:00-20:00"),
    ("TX", date(2025, 9, 1), "08:00-21:00", "09:00-21:00"),
]
CASES = [
    pytest.param(state, day, HOURS[state][column], id=f"{state}-{name}")
    for state in HOURS
    for name, (day, column) in DAYS.items()
]


def zone_of(state: str) -> str:
    return regions.STATE_ZONES[state][0]


def key_of(*states: str, zone: str | None = None) -> str:
    zones = (zone,) if zone else sorted({zone_of(state) for state in states})
    return str(ZoneKey(tuple(sorted(states)), tuple(zones)))


def local(zone: str, day: date, at: str, *, fold: int = 0) -> datetime:
    local_time = datetime.combine(day, time.fromisoformat(at), tzinfo=ZoneInfo(zone))
    return local_time.replace(fold=fold).astimezone(UTC)


@pytest.mark.parametrize(("state", "day", "hours"), CASES)
def test_hours_of_a_state_are_exact_to_the_minute(state: str, day: date, hours: str | None) -> None:
    zone, key = zone_of(state), key_of(state)
    if hours is None:
        noons = [local(zone, day, at) for at in ("00:00", "10:00", "12:00", "19:59", "23:59")]
        assert [US.open_until(key, at) for at in noons] == [None] * 5
        return
    opens, closes = (local(zone, day, at) for at in hours.split("-"))

    assert US.open_until(key, opens - MINUTE) is None
    assert US.open_until(key, opens) == closes
    assert US.open_until(key, closes - MINUTE) == closes
    assert US.open_until(key, closes) is None
    assert US.next_open(key, opens - MINUTE) == opens
    assert US.next_open(key, closes - MINUTE) == closes - MINUTE


def test_every_state_with_its_own_rule_is_among_the_cases() -> None:
    present = {
        rule.state
        for rule in US.rules
        if rule.state and any(rule.is_in_force(day) for day, _ in DAYS.values())
    }
    dated = {state for state, *_ in FIRST_DAYS}

    assert present == set(HOURS) - {"GA"}
    assert {rule.state for rule in US.rules if rule.state} <= present | dated


WITHOUT_WINDOW: frozenset[str] = frozenset()
"""States whose rules have no hours of their own, such as a state with only a limit of messages."""


@pytest.mark.parametrize("state", sorted(set(HOURS) - {"GA"}))
def test_shipped_rules_of_a_state_have_its_hours(state: str) -> None:
    # The federal window, 08:00 to 21:00, also limits the evaluated hours and would hide a wrong
    # rule of a state with the same hours. So this test reads the rules themselves.
    for name, (day, column) in DAYS.items():
        rules = [
            rule
            for rule in US.rules
            if rule.state == state and rule.is_in_force(day) and name in rule.weekdays
        ]
        hours = {
            f"{rule.start:%H:%M}-{rule.end:%H:%M}" for rule in rules if rule.start and rule.end
        }
        is_closed = any(rule.kind is ComplianceRuleKind.NO_DAY for rule in rules)

        assert (HOURS[state][column] is None) == is_closed
        window = set() if state in WITHOUT_WINDOW else {HOURS[state][column]}
        assert is_closed or hours == window


@pytest.mark.parametrize(
    ("state", "at", "opens"),
    [
        # Louisiana allows no messages on Sundays, so it is closed from Saturday evening to Monday
        # morning.
        ("LA", (date(2026, 11, 28), "20:00"), (date(2026, 11, 30), "08:00")),
        ("TX", (date(2026, 11, 28), "21:00"), (date(2026, 11, 29), "12:00")),
        ("RI", (date(2026, 11, 27), "18:00"), (date(2026, 11, 28), "10:00")),
        ("RI", (date(2026, 11, 29), "17:00"), (date(2026, 11, 30), "09:00")),
        # Alabama is closed on Thanksgiving, and Mississippi is not.
        ("AL", (date(2026, 11, 25), "20:00"), (date(2026, 11, 27), "08:00")),
        ("MS", (date(2026, 11, 25), "20:00"), (date(2026, 11, 26), "08:00")),
        # 4 July 2026 is a Saturday. Alabama is closed on the observed holiday (the Friday before),
        # on the holiday itself and on the Sunday after it.
        ("AL", (date(2026, 7, 2), "20:00"), (date(2026, 7, 6), "08:00")),
        # 1 January 2028 is a Saturday, so this holiday is observed on Friday, 31 December 2027.
        ("AL", (date(2027, 12, 30), "20:00"), (date(2028, 1, 3), "08:00")),
    ],
)
def test_next_opening_is_found(state: str, at: tuple[date, str], opens: tuple[date, str]) -> None:
    zone = zone_of(state)

    assert US.next_open(key_of(state), local(zone, *at)) == local(zone, *opens)


@pytest.mark.parametrize("day", sorted(holidays.country_holidays("US", years=[2026, 2027])))
def test_alabama_is_closed_on_federal_holidays_and_their_observed_days(day: date) -> None:
    noon = local("America/Chicago", day, "12:00")

    assert US.open_until(key_of("AL"), noon) is None


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1)])
@pytest.mark.parametrize("state", ["GA", "MA", "TX", "CA"])
def test_window_keeps_its_local_hours_when_the_clocks_change(state: str, day: date) -> None:
    zone = zone_of(state)
    opens, closes = (local(zone, day, at) for at in (HOURS[state][2] or "").split("-"))

    assert US.open_until(key_of(state), opens - MINUTE) is None
    assert US.open_until(key_of(state), opens) == closes
    assert US.open_until(key_of(state), closes) is None
    yesterday = local(zone, day - timedelta(days=1), "21:00")
    assert US.next_open(key_of(state), yesterday) == opens


def test_two_states_must_both_be_open() -> None:
    # Florida closes at 20:00 in New York. Oregon opens at 08:00 in Los Angeles.
    key = key_of("FL", "OR", zone="America/New_York,America/Los_Angeles")
    day = date(2026, 11, 25)
    opens = local("America/Los_Angeles", day, "08:00")
    closes = local("America/New_York", day, "20:00")

    assert US.open_until(key, opens - MINUTE) is None
    assert US.open_until(key, opens) == closes
    assert US.open_until(key, closes) is None
    assert US.next_open(key, closes) == opens + timedelta(days=1)


def test_rules_of_both_states_apply_in_one_zone() -> None:
    # In Kentucky, messages may be sent only from 10:00. In Rhode Island, only until 18:00.
    key, zone, day = key_of("KY", "RI", zone="America/New_York"), "America/New_York", DAYS["mon"][0]

    assert US.open_until(key, local(zone, day, "09:59")) is None
    assert US.open_until(key, local(zone, day, "10:00")) == local(zone, day, "18:00")


def test_state_with_two_zones_is_open_only_if_both_are_open() -> None:
    key, day = str(ZoneKey(("TX",), regions.STATE_ZONES["TX"])), DAYS["mon"][0]
    opens, closes = (local("America/Denver", day, "09:00"), local("America/Chicago", day, "21:00"))

    assert US.open_until(key, opens - MINUTE) is None
    assert US.open_until(key, opens) == closes


def test_province_has_the_federal_hours() -> None:
    day = DAYS["sun"][0]

    until = US.open_until("ON/America/Toronto", local("America/Toronto", day, "08:00"))

    assert until == local("America/Toronto", day, "21:00")


def test_unknown_state_is_open_only_if_all_states_and_zones_are_open() -> None:
    # All states and zones must be open: from 10:00 in Honolulu, which is 15:00 in New York, until
    # the strictest rule closes New York at 18:00.
    day = DAYS["mon"][0]
    opens = local("Pacific/Honolulu", day, "10:00")

    assert US.open_until(ANYWHERE, opens - MINUTE) is None
    assert US.open_until(ANYWHERE, opens) == local("America/New_York", day, "18:00")


def test_unknown_state_is_closed_on_sundays_and_holidays() -> None:
    for day in (DAYS["sun"][0], date(2026, 11, 26)):
        assert US.open_until("?/America/Chicago", local("America/Chicago", day, "12:00")) is None


WORKDAYS = st.dates(date(2026, 1, 1), date(2030, 12, 31)).filter(
    lambda day: day.weekday() < 5 and day not in holidays.country_holidays("US", years=day.year)
)
MINUTES = st.integers(10 * 60, 17 * 60 - 1)
STATES = st.sampled_from([*sorted(regions.STATE_ZONES), ""])


@given(day=WORKDAYS, minute=MINUTES, state=STATES, data=st.data())
def test_working_hours_are_open_in_every_state(
    day: date, minute: int, state: str, data: st.DataObject
) -> None:
    zone = data.draw(st.sampled_from(regions.STATE_ZONES[state] if state else regions.ANYWHERE))
    now = local(zone, day, f"{minute // 60:02d}:{minute % 60:02d}")

    until = US.open_until(f"{state or '?'}/{zone}", now)

    assert until is not None
    assert until >= local(zone, day, "17:00")


KEYS = st.builds(
    lambda states, zones: str(ZoneKey(tuple(sorted(states)), tuple(sorted(zones)))),
    st.sets(st.sampled_from(sorted(HOURS)), max_size=2),
    st.sets(st.sampled_from(regions.ANYWHERE), min_size=1, max_size=3),
)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@given(key=KEYS, now=INSTANTS)
def test_opening_and_closing_agree(key: str, now: datetime) -> None:
    until = US.open_until(key, now)
    opens = US.next_open(key, now)

    assert opens is not None
    assert US.open_until(key, opens) is not None
    assert (until is not None) == (opens == now)
    if until is None:
        assert US.open_until(key, opens - timedelta(microseconds=1)) is None
    else:
        assert US.open_until(key, until - timedelta(microseconds=1)) == until
        assert US.open_until(key, until) is None


@given(key=KEYS, now=INSTANTS)
def test_strictest_rule_decides(key: str, now: datetime) -> None:
    states, _, zones = key.partition("/")
    alone = [
        US.open_until(f"{state}/{zone}", now)
        for state in states.split(",")
        for zone in zones.split(",")
    ]

    expected = None if None in alone else min(until for until in alone if until is not None)

    assert US.open_until(key, now) == expected


@pytest.mark.parametrize("state", ["FL", "OK", "MD", "OR"])
def test_some_states_limit_the_frequency_of_messages(state: str) -> None:
    assert US.frequency_cap(key_of(state), local(zone_of(state), DAYS["mon"][0], "12:00")) == (
        3,
        24,
    )


def test_other_states_do_not_limit_the_frequency_of_messages() -> None:
    now = local("America/New_York", DAYS["mon"][0], "12:00")
    others = set(regions.STATE_ZONES) - {"FL", "OK", "MD", "OR"}

    assert {US.frequency_cap(key_of(state), now) for state in others} == {None}


def test_limit_applies_if_one_of_the_states_has_it_or_the_state_is_unknown() -> None:
    now = local("America/New_York", DAYS["mon"][0], "12:00")

    assert US.frequency_cap(key_of("FL", "GA"), now) == FrequencyCap(3, 24)
    assert US.frequency_cap(ANYWHERE, now) == FrequencyCap(3, 24)


@pytest.mark.parametrize(("state", "day", "before", "after"), FIRST_DAYS)
def test_rule_begins_on_its_first_day_in_the_recipients_zone(
    state: str, day: date, before: str, after: str
) -> None:
    zone = zone_of(state)
    for on, hours in ((day - timedelta(days=1), before), (day, after)):
        opens, closes = (local(zone, on, at) for at in hours.split("-"))
        assert US.open_until(key_of(state), opens - MINUTE) is None
        assert US.open_until(key_of(state), opens) == closes


@pytest.mark.parametrize(("state", "day"), [("MD", date(2024, 1, 1)), ("OR", date(2026, 1, 1))])
def test_limit_begins_on_its_first_day_in_the_recipients_zone(state: str, day: date) -> None:
    midnight = local(zone_of(state), day, "00:00")

    assert US.frequency_cap(key_of(state), midnight - MINUTE) is None
    assert US.frequency_cap(key_of(state), midnight) == FrequencyCap(3, 24)


def make_rule(kind: ComplianceRuleKind, **values: object) -> ComplianceRule:
    fields = {"state": None, "reviewed": date(2026, 11, 25), "kind": kind} | values
    return ComplianceRule.model_validate(fields)


def test_rule_ends_after_its_last_day() -> None:
    rules = [
        make_rule(ComplianceRuleKind.WINDOW, start="08:00", end="21:00"),
        make_rule(
            ComplianceRuleKind.WINDOW,
            start="12:00",
            end="13:00",
            effective_until=date(2026, 11, 23),
        ),
    ]
    book, key, zone = RuleBook(rules, name="made"), key_of("GA"), "America/New_York"

    assert book.open_until(key, local(zone, date(2026, 11, 23), "11:00")) is None
    assert book.open_until(key, local(zone, date(2026, 11, 24), "11:00")) is not None


def test_two_limits_are_combined_to_a_cap_that_meets_both() -> None:
    rules = [
        make_rule(ComplianceRuleKind.FREQUENCY, max_texts=3, per_hours=24),
        make_rule(ComplianceRuleKind.FREQUENCY, max_texts=5, per_hours=72, state="FL"),
    ]

    cap = RuleBook(rules, name="made").frequency_cap(
        key_of("FL"), datetime(2026, 11, 23, tzinfo=UTC)
    )

    assert cap == FrequencyCap(3, 72)


def test_windows_that_never_overlap_never_open() -> None:
    rules = [
        make_rule(ComplianceRuleKind.WINDOW, start="08:00", end="10:00"),
        make_rule(ComplianceRuleKind.WINDOW, start="10:00", end="12:00", state="GA"),
    ]
    book, now = RuleBook(rules, name="made"), datetime(2026, 11, 23, 15, tzinfo=UTC)

    assert book.open_until(key_of("GA"), now) is None
    assert book.next_open(key_of("GA"), now) is None


def test_without_rules_every_zone_key_is_always_open() -> None:
    night = local("America/New_York", DAYS["sun"][0], "03:00")

    assert NO_RULES.open_until(ANYWHERE, night) == FOREVER
    assert NO_RULES.next_open(ANYWHERE, night) == night
    assert NO_RULES.frequency_cap(ANYWHERE, night) is None


@pytest.mark.parametrize(
    ("state", "at"),
    [
        ("AP", "2026-12-01T20:30:00Z"),  # 05:30 in Tokyo
        ("AE", "2026-12-01T21:30:00Z"),  # 22:30 in Berlin
        ("PW", "2026-12-01T20:30:00Z"),  # 05:30 in Palau
    ],
)
def test_address_outside_the_states_gets_no_message_at_night(state: str, at: str) -> None:
    key = zone_key(timezone=None, state=state, postal_code=None, phone="+16175550100")

    assert load_rules("us").open_until(key, datetime.fromisoformat(at)) is None
