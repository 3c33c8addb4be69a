"""Intervals equal those of the library statsmodels; a rate with enough data is marked as such."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from crm_api.domain.insight.measures import intervals
from crm_api.domain.kit.intervals import wilson_interval

NOW = datetime(2026, 11, 25, tzinfo=UTC)
PARTS = st.integers(1, 3000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))


@settings(deadline=None)
@given(PARTS)
def test_wilson_is_that_of_statsmodels(part_of: tuple[int, int]) -> None:
    part, whole = part_of

    low, high = proportion_confint(part, whole, method="wilson")

    assert wilson_interval(part, whole) == pytest.approx((low, high), abs=1e-9)


@settings(deadline=None)
@given(PARTS, PARTS)
def test_newcombe_is_that_of_statsmodels(one: tuple[int, int], other: tuple[int, int]) -> None:
    low, high = confint_proportions_2indep(*one, *other, method="newcomb", compare="diff")

    assert intervals.newcombe_interval(*one, *other) == pytest.approx((low, high), abs=1e-9)


def test_no_interval_without_records() -> None:
    assert intervals.newcombe_interval(0, 0, 1, 2) is None


@pytest.mark.parametrize(
    ("part", "whole", "is_enough"),
    [
        (0, 0, False),
        (0, 29, False),
        (1, 29, False),
        (3, 100, False),
        (15, 500, True),
        (0, 92, False),
        (0, 93, True),
        (25, 480, False),
        (50, 700, True),
    ],
)
def test_enough(part: int, whole: int, *, is_enough: bool) -> None:
    assert intervals.is_rate_enough(part, whole) is is_enough


def test_date_of_enough_follows_the_pace() -> None:
    since = NOW - timedelta(days=10)

    at = intervals.enough_at(have=100, needed=300, since=since, as_of=NOW)

    assert at == NOW + timedelta(days=20)
    assert intervals.enough_at(have=0, needed=30, since=None, as_of=NOW) is None
    assert intervals.enough_at(have=1, needed=10**6, since=since, as_of=NOW) is None
    needed = intervals.needed_records(3, 100)
    assert intervals.is_rate_enough(round(needed * 0.03), needed)
    assert needed > 100
