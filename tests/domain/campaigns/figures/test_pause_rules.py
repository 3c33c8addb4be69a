"""The limits of opt-outs and failures of a campaign, checked from its first messages.

Of twenty campaigns that are exactly at their limit, at most one is paused. The seed is printed when
a test fails; set ``CRM_TEST_SEED`` to repeat the run.
"""

import math
import os
import random
from decimal import Decimal

import pytest
from tests.conftest import NOW

from crm_api.domain.campaigns.figures.experiment import ERROR
from crm_api.domain.campaigns.figures.pause_rules import RateCounts, RateLimits, find_exceeded_rate
from crm_api.domain.messaging.sends.vocabulary import PauseReason

SEED = int(os.environ.get("CRM_TEST_SEED", "20261128"))
LATEST_PAUSE = 12


@pytest.fixture
def dice() -> random.Random:
    print(f"CRM_TEST_SEED={SEED}")  # noqa: T201 - shown when the test fails
    return random.Random(SEED)  # noqa: S311 - a simulation


def make_opt_out_limit(limit: str) -> RateLimits:
    return RateLimits(opt_out_rate=Decimal(limit), failure_rate=None)


def make_failure_limit(limit: str) -> RateLimits:
    return RateLimits(opt_out_rate=None, failure_rate=Decimal(limit))


@pytest.mark.parametrize("limit", ["0.01", "0.02", "0.05", "0.10", "0.25", "0.5"])
def test_campaign_whose_recipients_all_opt_out_pauses_within_twelve(limit: str) -> None:
    paused_after = next(
        people
        for people in range(1, 96)
        if find_exceeded_rate(
            RateCounts(texts=people, failed=0, opted_out=people), make_opt_out_limit(limit), now=NOW
        )
    )

    assert 1 < paused_after <= LATEST_PAUSE


@pytest.mark.parametrize("limit", ["0.01", "0.05", "0.25", "0.5"])
def test_campaign_whose_messages_all_fail_pauses_within_twelve(limit: str) -> None:
    paused_after = next(
        texts
        for texts in range(1, 96)
        if find_exceeded_rate(
            RateCounts(texts=0, failed=texts, opted_out=0), make_failure_limit(limit), now=NOW
        )
    )

    assert 1 < paused_after <= LATEST_PAUSE


def test_opt_out_stored_before_its_message_counts_as_one_message() -> None:
    tripped = find_exceeded_rate(
        RateCounts(texts=0, failed=0, opted_out=5), make_opt_out_limit("0.02"), now=NOW
    )

    assert tripped is not None
    breaker, evidence = tripped
    assert breaker is PauseReason.OPT_OUT_RATE
    assert (evidence["texts"], evidence["opted_out"], evidence["rate"]) == (5, 5, "1.0000")


def pauses_at_limit(dice: random.Random, *, people: int, limit: str, lag: int) -> bool:
    """Return whether a campaign pauses whose real opt-out rate equals its limit.

    The campaign is simulated, and the limit is checked after every opt-out.
    """
    due = [0] * (people + lag + 1)
    for person in range(people):
        if dice.random() < float(limit):
            due[person + dice.randrange(lag + 1)] += 1
    opted_out = 0
    for at, stops in enumerate(due):
        opted_out += stops
        counts = RateCounts(texts=min(at + 1, people), failed=0, opted_out=opted_out)
        if stops and find_exceeded_rate(counts, make_opt_out_limit(limit), now=NOW):
            return True
    return False


@pytest.mark.parametrize("lag", [0, 30])
@pytest.mark.parametrize(
    ("limit", "people"), [("0.02", 95), ("0.05", 95), ("0.02", 2000), ("0.25", 500)]
)
def test_campaign_at_its_limit_pauses_in_at_most_one_of_twenty_runs(
    dice: random.Random, limit: str, people: int, lag: int
) -> None:
    runs = 500

    paused = sum(pauses_at_limit(dice, people=people, limit=limit, lag=lag) for _ in range(runs))

    print(f"{paused} of {runs} pause at {limit}, {people} people")  # noqa: T201 - shown on failure
    assert paused <= runs * ERROR + 3 * math.sqrt(runs * ERROR * (1 - ERROR))
