"""How often a figure is marked as "enough" data by mistake, if a user looks at it repeatedly.

The figures are simulated.
"""

import math

import numpy as np
import pytest

from crm_api.domain.insight.holdouts.plan import (
    LOOKED_AT_OFTEN,
    RATE_WITH,
    RATE_WITHOUT,
    needed_in_held_group,
)
from crm_api.domain.insight.holdouts.schemas import FEWEST_WITH, HoldoutLiftRead
from crm_api.domain.insight.holdouts.service import Comparison
from crm_api.domain.insight.measures import intervals
from crm_api.domain.kit.intervals import wilson_interval

PER_DAY = 125
"""Number of people per day: the usual daily limit of a line."""
DAYS = 365
CLAIMED_LIFT = 0.05
CLAIMED_RATE = 0.10
CLAIMED_APART = 0.10


def days_of_holdout(
    draws: np.random.Generator, *, percent: int, rate: float, rate_held: float, days: int
) -> list[Comparison]:
    """Simulate a holdout; return the comparison that the console would show on each day."""
    held = draws.binomial(PER_DAY, percent / 100, days)
    held_with = draws.binomial(held, rate_held).cumsum()
    messaged_with = draws.binomial(PER_DAY - held, rate).cumsum()
    held_people = held.cumsum()
    return [
        Comparison(
            messaged=PER_DAY * (day + 1) - int(held_people[day]),
            messaged_with=int(messaged_with[day]),
            held=int(held_people[day]),
            held_with=int(held_with[day]),
        )
        for day in range(days)
    ]


def excludes_zero(found: Comparison) -> bool:
    """Return whether enough people had the event, and zero is outside the interval.

    The interval is that of the difference between the two rates.
    """
    counts = (found.messaged_with, found.messaged, found.held_with, found.held)
    interval = intervals.newcombe_interval(*counts)
    if interval is None or found.messaged_with + found.held_with < FEWEST_WITH:
        return False
    return interval[0] > 0 or interval[1] < 0


def is_enough(found: Comparison) -> bool:
    # Building the response takes longer, so it is built only if the interval excludes zero.
    return excludes_zero(found) and HoldoutLiftRead.of(found).enough


@pytest.mark.parametrize("percent", [10, 20, 50])
def test_holdout_without_an_effect_is_seldom_enough_at_any_day_of_a_year(percent: int) -> None:
    draws = np.random.default_rng(percent)
    years = [
        days_of_holdout(draws, percent=percent, rate=0.01, rate_held=0.01, days=DAYS)
        for _ in range(150)
    ]

    wrong = sum(any(map(is_enough, year)) for year in years) / len(years)
    by_interval = sum(any(map(excludes_zero, year)) for year in years) / len(years)

    assert wrong <= CLAIMED_LIFT
    assert by_interval > 4 * CLAIMED_LIFT, "the looks are too few to find a rule that is not valid"


@pytest.mark.parametrize("percent", [10, 20, 50])
def test_holdout_knows_by_the_planned_date(percent: int) -> None:
    draws = np.random.default_rng(percent)
    people = LOOKED_AT_OFTEN * needed_in_held_group(percent) * 100 / percent
    days = math.ceil(people / PER_DAY)

    found = sum(
        any(
            map(
                is_enough,
                days_of_holdout(
                    draws, percent=percent, rate=RATE_WITH, rate_held=RATE_WITHOUT, days=days
                ),
            )
        )
        for _ in range(150)
    )

    assert 0.7 <= found / 150 <= 0.95


@pytest.mark.parametrize("rate", [0.003, 0.01, 0.03, 0.1, 0.3])
def test_rate_is_in_its_interval_when_it_is_enough_for_the_first_time(rate: float) -> None:
    """Test a rate at the first record after which it is marked as "enough" data.

    The rate is checked after each record.
    """
    draws = np.random.default_rng(7)
    wrong = 0
    for _ in range(300):
        counted = np.cumsum(draws.random(4000) < rate)
        for whole in range(intervals.FEWEST, 4000):
            part = int(counted[whole - 1])
            if intervals.is_rate_enough(part, whole):
                low, high = wilson_interval(part, whole) or (0, 1)
                wrong += not low <= rate <= high
                break

    assert wrong / 300 <= CLAIMED_RATE


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.1])
def test_rows_of_equal_rates_seldom_have_intervals_apart(rate: float) -> None:
    """Test two lists with equal rates, compared every day of a year once both have enough data."""
    draws = np.random.default_rng(11)
    per_list = PER_DAY // 2

    def is_apart(one: int, other: int, whole: int) -> bool:
        if not all(intervals.is_rate_enough(part, whole) for part in (one, other)):
            return False
        first, second = (wilson_interval(part, whole) or (0, 1) for part in (one, other))
        return first[0] > second[1] or second[0] > first[1]

    apart = 0
    for _ in range(150):
        one, other = (draws.binomial(per_list, rate, DAYS).cumsum() for _ in range(2))
        apart += any(
            is_apart(int(one[day]), int(other[day]), per_list * (day + 1)) for day in range(DAYS)
        )

    assert apart / 150 <= CLAIMED_APART


def test_difference_is_shown_only_with_enough_people() -> None:
    few = Comparison(messaged=12, messaged_with=10, held=8, held_with=2)
    many = Comparison(messaged=9_000, messaged_with=180, held=1_000, held_with=4)

    assert HoldoutLiftRead.of(few).enough is False
    assert HoldoutLiftRead.of(many).enough is True
    assert intervals.is_difference_shown(0, 0, 1, 2) is False
