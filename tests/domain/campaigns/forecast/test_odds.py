"""How sure a forecast is of itself."""

from dataclasses import replace
from datetime import timedelta
from math import sqrt
from random import Random

from tests.domain.campaigns.forecast.plans import MA, make_plan

from crm_api.domain.campaigns.forecast.odds import Odds, Share, finishes
from crm_api.domain.campaigns.forecast.plan import Step
from crm_api.domain.campaigns.forecast.simulation import simulate

NOTHING_KNOWN = Odds(
    replies=Share(hits=0, texts=0, assumed=0.05, weight=50),
    repeats=Share(hits=0, texts=0, assumed=0.005, weight=100),
)


def test_p90_is_later_than_p50_and_the_more_the_less_is_known() -> None:
    plan = make_plan(waiting={MA: 1000}, follow_ups=[Step(after=timedelta(days=1))])
    well_known = replace(
        NOTHING_KNOWN, replies=Share(hits=100, texts=2000, assumed=0.05, weight=50)
    )

    unsure, sure = finishes(plan, NOTHING_KNOWN), finishes(plan, well_known)

    assert unsure.p50.finish == sure.p50.finish
    assert sure.p90_finish is not None
    assert unsure.p90_finish is not None
    assert sure.p50.finish is not None
    assert sure.p50.finish < sure.p90_finish < unsure.p90_finish


def test_p90_holds_in_nine_of_ten_draws() -> None:
    plan = make_plan(waiting={MA: 600}, follow_ups=[Step(after=timedelta(days=1))])
    odds = replace(
        NOTHING_KNOWN,
        replies=Share(hits=40, texts=400, assumed=0.05, weight=50),
        others_a_day=20.0,
        others_variance=60.0,
    )
    late = finishes(plan, odds).p90_finish
    assert late is not None
    random = Random(11)  # noqa: S311 - draws, no secret

    held = 0
    for _ in range(300):
        share = random.betavariate(40 + 0.05 * 50, 360 + 0.95 * 50)
        answered = sum(random.random() < share for _ in range(600)) / 600
        others = sum(random.gauss(20, sqrt(60)) for _ in range(11)) / 11
        repeated = sum(random.random() < random.betavariate(0.5, 99.5) for _ in range(1140)) / 1140
        drawn = replace(
            plan, reply_share=answered, others_a_day=max(0.0, others), workload=1 + repeated
        )
        ended = simulate(drawn).finish
        held += ended is not None and ended <= late

    assert 0.85 <= held / 300 <= 0.96
