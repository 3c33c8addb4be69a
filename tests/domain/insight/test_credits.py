"""The attribution of an outcome to messages: shares sum to 1, and cents sum to the amount."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_api.domain.insight.attribution.credits import (
    RuleSet,
    Touch,
    divide_cents,
    divide_outcome,
)
from crm_api.domain.insight.attribution.models import AttributionModel, TouchClass

AT = datetime(2026, 11, 20, 15, tzinfo=UTC)
ALL = dict.fromkeys(TouchClass, 8760)


def touch(
    place: int, *, hours: float, touch_class: TouchClass = TouchClass.REPLIED, step: int = 0
) -> Touch:
    return Touch(
        membership_id=UUID(int=place),
        campaign_id=UUID(int=place % 3),
        variant="A",
        step=step,
        touch_class=touch_class,
        at=AT - timedelta(hours=hours),
    )


def rules(model: AttributionModel, windows: dict[TouchClass, int] | None = None) -> RuleSet:
    return RuleSet(version=1, model=model, windows=windows or ALL)


TOUCHES = st.lists(
    st.builds(
        touch,
        st.integers(0, 8),
        hours=st.integers(-50, 9000),
        touch_class=st.sampled_from(TouchClass),
    ),
    max_size=12,
)
RULES = st.builds(
    rules,
    st.sampled_from(AttributionModel),
    st.fixed_dictionaries({one: st.integers(0, 8760) for one in TouchClass}),
)


@settings(deadline=None)
@given(TOUCHES, RULES, st.randoms())
def test_weights_and_unattributed_share_sum_to_one_in_any_order(
    touches: list[Touch], used: RuleSet, chance: Random
) -> None:
    earned, rest = divide_outcome(AT, touches, used)
    shuffled = list(touches)
    chance.shuffle(shuffled)

    assert sum((one.weight for one in earned), rest) == 1
    assert all(0 < one.weight <= 1 for one in earned)
    assert divide_outcome(AT, shuffled, used) == (earned, rest)
    for one in earned:
        window = timedelta(hours=used.windows[one.touch.touch_class])
        assert one.touch.at <= AT <= one.touch.at + window
        assert window
    assert len({one.touch.membership_id for one in earned}) == len(earned)
    assert (rest == 1) == (not earned)


@settings(deadline=None)
@given(st.integers(0, 10**12), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_cents_sum_to_the_amount_and_differ_by_less_than_one(
    amount: int, weights: list[int]
) -> None:
    shares = [Fraction(one, sum(weights)) for one in weights]

    parts = divide_cents(amount, shares)

    assert sum(parts) == amount
    for part, share in zip(parts, shares, strict=True):
        assert abs(part - amount * share) < 1


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (AttributionModel.LAST, {3: "1"}),
        (AttributionModel.FIRST, {1: "1"}),
        (AttributionModel.LINEAR, {1: "1/3", 2: "1/3", 3: "1/3"}),
        (AttributionModel.TIME_DECAY, {1: "1/7", 2: "2/7", 3: "4/7"}),
    ],
)
def test_model(model: AttributionModel, weights: dict[int, str]) -> None:
    week = 24 * 7
    touches = [touch(1, hours=2 * week), touch(2, hours=week), touch(3, hours=1)]

    earned, rest = divide_outcome(AT, touches, rules(model))

    assert {one.touch.membership_id.int: str(one.weight) for one in earned} == weights
    assert rest == 0


@pytest.mark.parametrize(
    ("hours", "is_credited"), [(0, True), (72, True), (73, False), (-1, False)]
)
def test_window_begins_with_the_touch_and_ends_after_its_hours(
    hours: int, *, is_credited: bool
) -> None:
    used = rules(AttributionModel.LAST, {**dict.fromkeys(TouchClass, 0), TouchClass.REPLIED: 72})

    earned, _ = divide_outcome(AT, [touch(1, hours=hours)], used)

    assert bool(earned) is is_credited


def test_class_without_a_window_earns_nothing() -> None:
    """Test that a class without a window gets no share, even at the instant of the outcome."""
    used = rules(AttributionModel.LAST, dict.fromkeys(TouchClass, 0))

    earned, rest = divide_outcome(AT, [touch(1, hours=0)], used)

    assert (earned, rest) == ([], Fraction(1))


def test_a_message_is_credited_once_by_its_strongest_class() -> None:
    touches = [
        touch(1, hours=1, touch_class=TouchClass.DELIVERED),
        touch(1, hours=9, touch_class=TouchClass.REPLIED),
        touch(1, hours=2, touch_class=TouchClass.CALLED),
    ]

    earned, _ = divide_outcome(AT, touches, rules(AttributionModel.LINEAR))

    assert [(one.touch.touch_class, one.weight) for one in earned] == [
        (TouchClass.REPLIED, Fraction(1))
    ]


def test_left_cents_go_to_the_largest_remainders() -> None:
    assert divide_cents(100, [Fraction(1, 3)] * 3) == [34, 33, 33]
    assert divide_cents(5, [Fraction(1, 10), Fraction(9, 10)]) == [1, 4]
    assert divide_cents(0, [Fraction(1)]) == [0]
