"""Which rule a plan is told to be bound by."""

from datetime import UTC, datetime, time, timedelta

import pytest
from tests.domain.campaigns.forecast.plans import AL, MA, NOW, US, make_plan

from crm_api.domain.campaigns.forecast.binding import binding_rule
from crm_api.domain.campaigns.forecast.day import Pacing
from crm_api.domain.campaigns.forecast.plan import Rival, Step
from crm_api.domain.campaigns.forecast.simulation import simulate
from crm_api.domain.windows import DAYS, Window

BINDINGS = {
    "the campaign's limit": (make_plan(campaign_limit=40), "campaign_daily_limit"),
    "the line's limit": (make_plan(campaign_limit=400), "line_daily_limit"),
    "both limits": (make_plan(), "line_daily_limit"),
    "the line's limit over years": (
        make_plan(campaign_limit=4000, waiting={MA: 300_000}),
        "line_daily_limit",
    ),
    "a limit of none": (make_plan(campaign_limit=0), "campaign_daily_limit"),
    "a line that may send none": (make_plan(line_limit=0), "line_daily_limit"),
    "more than ten years": (make_plan(waiting={MA: 1_000_000}), "line_daily_limit"),
    "what is left of today": (make_plan(waiting={MA: 5}, line_used=125), "line_daily_limit"),
    "the ramp": (make_plan(ramp_plan=(20, 40, 80), waiting={MA: 130}), "line_ramp"),
    "other campaigns": (
        make_plan(rivals=[Rival(waiting=900, daily_limit=125)]),
        "other_campaigns",
    ),
    "the night": (
        make_plan(waiting={MA: 5}, begins=datetime(2026, 11, 26, 3, 0, tzinfo=UTC)),
        "outside_schedule",
    ),
    "the law's night": (
        make_plan(
            waiting={MA: 5},
            window=Window.of(DAYS, time(0), time(23, 59)),
            rules=US,
            begins=datetime(2026, 11, 26, 3, 0, tzinfo=UTC),
        ),
        "outside_legal_hours",
    ),
    "a day on which the law forbids it": (
        make_plan(window=Window.of(["sun"], time(9), time(18)), rules=US, waiting={AL: 5}),
        "outside_schedule",
    ),
    "places that are never open at once": (
        make_plan(
            timezone="recipient",
            waiting={"?/Asia/Tokyo,America/New_York": 5},
        ),
        "outside_schedule",
    ),
    "the pace of a day": (make_plan(waiting={MA: 50}), "pacing"),
    "batches": (
        make_plan(waiting={MA: 50}, pacing=Pacing(batch_size=5, batch_seconds=3600)),
        "pacing",
    ),
    "the provider's rate": (
        make_plan(waiting={MA: 1_000_000}, campaign_limit=10_000_000, line_limit=10_000_000),
        "provider_rate",
    ),
    "follow-ups": (
        make_plan(waiting={MA: 50}, follow_ups=[Step(after=timedelta(days=9))]),
        "follow_up_waits",
    ),
}


@pytest.mark.parametrize("case", BINDINGS)
def test_rule_that_binds_is_the_one_without_which_it_is_done_soonest(case: str) -> None:
    plan, rule = BINDINGS[case]

    assert binding_rule(plan, simulate(plan), now=plan.begins) == rule


def test_start_that_is_ahead_binds() -> None:
    plan = make_plan(begins=NOW + timedelta(days=20))

    assert binding_rule(plan, simulate(plan), now=NOW) == "not_started"


def test_nothing_binds_one_text_that_may_go_now() -> None:
    plan = make_plan(waiting={MA: 1})

    assert binding_rule(plan, simulate(plan), now=NOW) is None
