"""Forecasts agree with a slow sender that sends the same plan message by message."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.domain.campaigns.forecast.plans import (
    AL,
    CA,
    HI,
    MA,
    NEW_YORK,
    NINE_TO_SIX,
    RI,
    UNKNOWN,
    US,
    WEEKDAYS,
    make_plan,
)
from tests.domain.campaigns.one_by_one import Sender, SharedLine, send_all

from crm_api.domain.campaigns.forecast.plan import Pacing, Plan, Rival
from crm_api.domain.campaigns.forecast.simulation import SHOWN_DAYS, simulate
from crm_api.domain.consent.legal_rules.rules import is_federal_holiday
from crm_api.domain.kit.windows import DAYS, Window


def format_local(at: datetime | None) -> str:
    assert at is not None
    return at.astimezone(ZoneInfo(NEW_YORK)).strftime("%Y-%m-%d %H:%M")


def send_one_by_one(plan: Plan, *rivals: Sender) -> tuple[datetime, Counter[date]]:
    hours = plan.hours
    assert hours.window is not None
    sender = Sender(
        window=hours.window,
        timezone=hours.timezone,
        people=Counter({group.zone_key: int(group.people) for group in plan.waiting}),
        daily_limit=plan.campaign_limit,
        batch_size=plan.pacing.batch_size,
        batch_minutes=int(plan.pacing.batch_seconds // 60),
        follow_up_hours=[delay.total_seconds() / 3600 for delay in plan.follow_ups],
        reply_share=plan.reply_share,
    )
    shared = SharedLine(
        timezone=hours.line_timezone,
        daily_limit=plan.line_limit,
        ramp=plan.ramp_plan,
        rules=hours.rules,
        now=plan.begins,
    )
    send_all([sender, *rivals], shared)
    assert sender.finish is not None
    return sender.finish, sender.used


CASES = {
    "one zone": make_plan(),
    "half of a daily limit": make_plan(waiting={MA: 50}),
    "uses exactly two daily limits": make_plan(waiting={MA: 250}),
    "change to standard time": make_plan(begins=datetime(2026, 10, 31, 13, 0, tzinfo=UTC)),
    "change to daylight-saving time": make_plan(
        begins=datetime(2027, 3, 13, 13, 0, tzinfo=UTC), timezone="recipient", waiting={HI: 300}
    ),
    "a weekend in between": make_plan(window=WEEKDAYS),
    "a holiday on which the law forbids messages": make_plan(rules=US, waiting={AL: 260}),
    "zones that close early": make_plan(
        rules=US, waiting={MA: 100, CA: 100, HI: 60}, timezone="recipient"
    ),
    "zones that open one after another": make_plan(
        waiting={MA: 10, HI: 100}, timezone="recipient", campaign_limit=40
    ),
    "a zone with short weekends": make_plan(
        rules=US, waiting={MA: 200, RI: 200}, window=Window.of(DAYS, time(8), time(20))
    ),
    "people with several possible time zones": make_plan(rules=US, waiting={UNKNOWN: 200}),
    "a window of 24 hours": make_plan(window=Window.of(DAYS, time(0), time(23, 59))),
    "a window of 24 hours at the recipient": make_plan(
        window=Window.of(DAYS, time(0), time(23, 59)), timezone="recipient", waiting={HI: 300}
    ),
    "a week after the clock change": make_plan(
        begins=datetime(2026, 10, 31, 13, 0, tzinfo=UTC), waiting={MA: 125 * 8 + 50}
    ),
    "a line in another zone": make_plan(line_timezone="Pacific/Honolulu", timezone=NEW_YORK),
    "ramp": make_plan(ramp_plan=(20, 40, 80), waiting={MA: 250}),
    "campaign limit below the line's": make_plan(campaign_limit=40, waiting={MA: 130}),
    "bursts": make_plan(pacing=Pacing(batch_size=10, batch_seconds=45 * 60), waiting={MA: 215}),
    "bursts that use up the daily limit": make_plan(
        pacing=Pacing(batch_size=40, batch_seconds=60 * 60)
    ),
    "begins at night": make_plan(begins=datetime(2026, 11, 26, 3, 0, tzinfo=UTC)),
    "a follow-up": make_plan(waiting={MA: 150}, follow_ups=[timedelta(hours=48)], reply_share=0.0),
    "two follow-ups, some people reply": make_plan(
        waiting={MA: 400},
        campaign_limit=60,
        follow_ups=[timedelta(hours=30), timedelta(hours=200)],
        reply_share=0.2,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_forecast_finishes_when_messages_sent_one_by_one_finish(case: str) -> None:
    plan = CASES[case]

    found = simulate(plan)

    finish, used = send_one_by_one(plan)
    assert found.finish is not None
    # If messages are sent one by one, each second follow-up is due after its own first follow-up.
    # The forecast makes all second follow-ups due after the last first follow-up.
    slack = timedelta(hours=8) if plan.reply_share else timedelta(minutes=12)
    assert abs(found.finish - finish) <= slack, (format_local(found.finish), format_local(finish))
    if not plan.reply_share:
        shown = {day: texts for day, texts in found.per_day if texts}
        assert {day: pytest.approx(used[day], abs=3) for day in used} == shown


RIVALS = {
    "an equal campaign": (300, Rival(waiting=1000, daily_limit=125)),
    "a campaign with a smaller limit": (300, Rival(waiting=1000, daily_limit=30)),
    "a campaign that ends": (300, Rival(waiting=70, daily_limit=125)),
    "a campaign that begins later": (
        400,
        Rival(waiting=500, daily_limit=125, first=date(2026, 11, 27)),
    ),
}


@pytest.mark.parametrize("case", RIVALS)
def test_forecast_shares_the_line_like_campaigns_that_take_turns(case: str) -> None:
    people, rival = RIVALS[case]
    plan = make_plan(waiting={MA: people}, rivals=[rival])

    found = simulate(plan)

    first = rival.first or plan.begins.date()
    other = Sender(
        window=NINE_TO_SIX,
        timezone=None,
        people=Counter({MA: int(rival.waiting)}),
        daily_limit=rival.daily_limit,
        begins=datetime.combine(first, time(0), tzinfo=ZoneInfo(NEW_YORK)),
    )
    finish, used = send_one_by_one(plan, other)
    assert found.finish is not None
    assert abs(found.finish - finish) <= timedelta(hours=1), (
        format_local(found.finish),
        format_local(finish),
    )
    assert {day: pytest.approx(used[day], abs=6) for day in used} == dict(found.per_day)


def test_forecast_of_a_year_finishes_on_the_counted_day() -> None:
    people = 125 * 400

    found = simulate(make_plan(waiting={MA: people}))

    assert format_local(found.finish)[:10] == str(date(2026, 11, 25) + timedelta(days=399))
    assert round(found.sending_days) == 400
    assert len(found.per_day) == SHOWN_DAYS


def test_forecast_of_years_with_follow_ups_finishes_on_the_counted_day() -> None:
    follow_ups = [timedelta(days=2), timedelta(days=5)]
    plan = make_plan(waiting={MA: 60_000}, follow_ups=follow_ups, reply_share=0.05)

    found = simulate(plan)

    days = timedelta(days=plan.texts / 125) + sum(follow_ups, timedelta())
    assert found.finish is not None
    assert abs(found.finish - (plan.begins + days)) <= timedelta(days=2)


def test_forecast_of_years_leaves_out_days_that_the_law_forbids() -> None:
    """Test a plan for Alabama, which allows no messages on Sundays and federal holidays."""
    plan = make_plan(rules=US, waiting={AL: 100_000}, line_limit=100, campaign_limit=100)

    found = simulate(plan)

    day, sent = date(2026, 11, 25), 0
    while True:
        sent += 100 * (day.weekday() < 6 and not is_federal_holiday(day))
        if sent >= 100_000:
            break
        day += timedelta(days=1)
    assert found.finish is not None
    # The forecast repeats a simulated year. The real year may have one holiday more or less.
    assert abs(found.finish.date() - day) <= timedelta(days=3)


def test_forecast_of_a_million_people_finishes_on_the_counted_day() -> None:
    found = simulate(make_plan(waiting={MA: 1_000_000}, line_limit=6000, campaign_limit=6000))

    assert format_local(found.finish)[:10] == str(date(2026, 11, 25) + timedelta(days=166))


def test_forecast_beyond_ten_years_has_no_finish_but_shows_the_first_days() -> None:
    found = simulate(make_plan(waiting={MA: 1_000_000}))

    assert found.finish is None
    assert sum(texts for _, texts in found.per_day) == 125 * SHOWN_DAYS


def test_forecast_stops_at_the_end_of_the_campaign() -> None:
    ends = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)

    found = simulate(make_plan(waiting={MA: 500}, ends=ends))

    assert found.finish == ends
    # The end of the campaign closes the window of the last day. All 125 messages of this day are
    # sent before the end.
    assert [texts for _, texts in found.per_day] == [125, 125, 125]
    assert found.not_reached == 125


def test_zone_key_that_never_opens_leaves_a_forecast_without_a_finish() -> None:
    sundays = Window.of(["sun"], time(9), time(18))

    found = simulate(make_plan(rules=US, window=sundays, waiting={MA: 10, AL: 5}))

    assert found.finish is None
    assert round(found.unsent) == 5


def test_line_limit_of_zero_sends_no_messages() -> None:
    found = simulate(make_plan(line_limit=0))

    assert found.finish is None
    assert found.per_day == []


def test_other_messages_of_the_line_reduce_the_daily_limit() -> None:
    found = simulate(make_plan(others_a_day=25))

    assert [texts for _, texts in found.per_day] == [110, 100, 90]


def test_postponed_messages_finish_no_sooner_than_they_are_due() -> None:
    due = datetime(2026, 11, 28, 4, 0, tzinfo=UTC)

    plan = make_plan()
    waiting = [replace(group, people=3, due_until=due) for group in plan.waiting]

    found = simulate(replace(plan, waiting=waiting))

    assert format_local(found.finish) == "2026-11-28 09:00"
