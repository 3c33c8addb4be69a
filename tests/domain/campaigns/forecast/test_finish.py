"""The finish of a plan at 50 % and at 90 % probability, and the rule that delays it most."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from math import sqrt
from random import Random

import pytest
from tests.domain.campaigns.forecast.plans import AL, MA, NOW, US, make_plan

from crm_api.domain.campaigns.forecast.finish import Odds, Share, binding_rule, predict
from crm_api.domain.campaigns.forecast.plan import Pacing, Rival
from crm_api.domain.campaigns.forecast.simulation import simulate
from crm_api.domain.kit.windows import DAYS, Window

NO_DATA = Odds(
    replies=Share(hits=0, texts=0, assumed=0.05, weight=50),
    repeats=Share(hits=0, texts=0, assumed=0.005, weight=100),
)


def test_p90_is_later_than_p50_and_latest_without_data() -> None:
    plan = make_plan(waiting={MA: 1000}, follow_ups=[timedelta(days=1)])
    well_known = replace(NO_DATA, replies=Share(hits=100, texts=2000, assumed=0.05, weight=50))

    unsure, sure = (predict(plan, odds, now=NOW) for odds in (NO_DATA, well_known))

    assert unsure.p50.finish == sure.p50.finish
    assert sure.p90_finish is not None
    assert unsure.p90_finish is not None
    assert sure.p50.finish is not None
    assert sure.p50.finish < sure.p90_finish < unsure.p90_finish


def test_p90_holds_in_nine_of_ten_draws() -> None:
    plan = make_plan(waiting={MA: 600}, follow_ups=[timedelta(days=1)])
    odds = replace(
        NO_DATA,
        replies=Share(hits=40, texts=400, assumed=0.05, weight=50),
        others_a_day=20.0,
        others_variance=60.0,
    )
    p90_finish = predict(plan, odds, now=NOW).p90_finish
    assert p90_finish is not None
    random = Random(11)  # noqa: S311 - a simulation

    held = 0
    for _ in range(300):
        share = random.betavariate(40 + 0.05 * 50, 360 + 0.95 * 50)
        answered = sum(random.random() < share for _ in range(600)) / 600
        others = sum(random.gauss(20, sqrt(60)) for _ in range(11)) / 11
        repeated = sum(random.random() < random.betavariate(0.5, 99.5) for _ in range(1140)) / 1140
        drawn_plan = replace(
            plan, reply_share=answered, others_a_day=max(0.0, others), workload=1 + repeated
        )
        finish = simulate(drawn_plan).finish
        held += finish is not None and finish <= p90_finish

    assert 0.85 <= held / 300 <= 0.96


def test_p90_of_years_with_follow_ups_is_later_than_p50() -> None:
    follow_ups = [timedelta(days=2), timedelta(days=5)]
    plan = make_plan(waiting={MA: 60_000}, follow_ups=follow_ups)

    found = predict(plan, NO_DATA, now=NOW)

    assert found.p50.finish is not None
    assert found.p90_finish is not None
    assert found.p50.finish < found.p90_finish


BINDINGS = {
    "the campaign's limit": (make_plan(campaign_limit=40), "campaign_daily_limit"),
    "the line's limit": (make_plan(campaign_limit=400), "line_daily_limit"),
    "both limits": (make_plan(), "line_daily_limit"),
    "the line's limit over years": (
        make_plan(campaign_limit=4000, waiting={MA: 300_000}),
        "line_daily_limit",
    ),
    "a limit of zero": (make_plan(campaign_limit=0), "campaign_daily_limit"),
    "a line limit of zero": (make_plan(line_limit=0), "line_daily_limit"),
    "more than ten years": (make_plan(waiting={MA: 1_000_000}), "line_daily_limit"),
    "the remaining limit of today": (make_plan(waiting={MA: 5}, line_used=125), "line_daily_limit"),
    "the ramp": (make_plan(ramp_plan=(20, 40, 80), waiting={MA: 130}), "line_ramp"),
    "other campaigns": (
        make_plan(rivals=[Rival(waiting=900, daily_limit=125)]),
        "other_campaigns",
    ),
    "the night": (
        make_plan(waiting={MA: 5}, begins=datetime(2026, 11, 26, 3, 0, tzinfo=UTC)),
        "outside_schedule",
    ),
    "legal night hours": (
        make_plan(
            waiting={MA: 5},
            window=Window.of(DAYS, time(0), time(23, 59)),
            rules=US,
            begins=datetime(2026, 11, 26, 3, 0, tzinfo=UTC),
        ),
        "outside_legal_hours",
    ),
    "a day on which the law forbids messages": (
        make_plan(window=Window.of(["sun"], time(9), time(18)), rules=US, waiting={AL: 5}),
        "outside_schedule",
    ),
    "time zones that are never open together": (
        make_plan(
            timezone="recipient",
            waiting={"?/Asia/Tokyo,America/New_York": 5},
        ),
        "outside_schedule",
    ),
    "even pace over the day": (make_plan(waiting={MA: 50}), "pacing"),
    "batches": (
        make_plan(waiting={MA: 50}, pacing=Pacing(batch_size=5, batch_seconds=3600)),
        "pacing",
    ),
    "the provider's rate": (
        make_plan(waiting={MA: 1_000_000}, campaign_limit=10_000_000, line_limit=10_000_000),
        "provider_rate",
    ),
    "follow-ups": (
        make_plan(waiting={MA: 50}, follow_ups=[timedelta(days=9)]),
        "follow_up_waits",
    ),
}


@pytest.mark.parametrize("case", BINDINGS)
def test_binding_rule_is_the_rule_without_which_the_plan_finishes_first(case: str) -> None:
    plan, rule = BINDINGS[case]

    assert binding_rule(plan, simulate(plan), now=plan.begins) == rule


def test_future_start_binds() -> None:
    plan = make_plan(begins=NOW + timedelta(days=20))

    assert binding_rule(plan, simulate(plan), now=NOW) == "not_started"


def test_no_rule_binds_one_message_that_may_be_sent_now() -> None:
    plan = make_plan(waiting={MA: 1})

    assert binding_rule(plan, simulate(plan), now=NOW) is None
