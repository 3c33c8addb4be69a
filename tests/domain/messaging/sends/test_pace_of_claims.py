"""The claim applies the pace, the ramp plan of a new line, the trial of a line and other caps."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.factories import make_line, number

from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends import claim, usage
from crm_api.domain.messaging.sends.pacing import Even
from crm_api.domain.messaging.sends.usage import limit_on
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

EVEN: dict[str, Any] = {"pacing_mode": "even", "batch_size": None, "batch_interval_minutes": None}
BATCHES: dict[str, Any] = {"pacing_mode": "burst", "batch_size": 2, "batch_interval_minutes": 30}


async def next_at(ledger: Ledger) -> datetime:
    (pace,) = await ledger.rows("SELECT next_at FROM campaign_pace")
    at: datetime = pace.next_at
    return at


async def test_even_pace_claims_one_recipient_and_then_waits(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=5, **EVEN)

    first = await ledger.claim()
    second = await ledger.claim(now=after(1))
    due = await next_at(ledger)
    third = await ledger.claim(now=due)

    # NOW is 10:00 in the line's time zone. Eight hours are left for 125 messages, so one message is
    # due every 230 s.
    distance = timedelta(hours=8) / 125
    assert (len(first), len(second), len(third)) == (1, 0, 1)
    assert NOW + 0.5 * distance <= due <= NOW + 1.5 * distance


async def test_plan_returns_when_the_pace_allows_the_next_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=5, **EVEN)
    await ledger.claim()

    async with new_uow() as uow:
        plan = await planning.plan_sends(
            uow, rules=NO_RULES, business=Business(name=None, contact=None), now=after(1)
        )

    assert not plan.orders
    assert plan.wakes_at == await next_at(ledger)


async def test_campaign_without_due_recipients_takes_no_share_of_the_line(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2, **EVEN)
    other = await Ledger.open(new_uow, people=1, line=ledger.line, **EVEN)
    shares = []

    for status in ("pending", "skipped"):
        await other.run(
            "UPDATE campaign_membership SET status = :status WHERE campaign_id = :id",
            status=status,
            id=other.campaign.id,
        )
        async with new_uow() as uow:
            order = await ledger.order(uow)
        assert order is not None
        shares.append(order.pacing)

    assert [pacing.sharers for pacing in shares if isinstance(pacing, Even)] == [2, 1]


async def test_order_older_than_the_pace_claims_nothing(new_uow: UnitOfWorkFactory) -> None:
    """Test two workers that plan at the same moment: the second claim counts the first claim."""
    ledger = await Ledger.open(new_uow, people=5, **EVEN)
    async with new_uow() as uow:
        order = await ledger.order(uow)
    assert order is not None
    await ledger.claim()

    async with new_uow() as uow:
        late = await claim.claim_recipients(uow, order, limit=100, times=TIMES, now=after(1))

    assert late.claimed == []
    assert late.is_exhausted


async def test_batches_are_claimed_an_interval_apart(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=5, **BATCHES)

    taken = [
        len(await ledger.claim(now=NOW + timedelta(minutes=minutes)))
        for minutes in (0, 1, 29, 30, 31, 60)
    ]

    assert taken == [2, 0, 0, 2, 0, 1]


async def test_batch_continues_after_recipients_that_cannot_be_claimed(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3, **BATCHES)
    await ledger.flag("opted_out", phone=number(0))

    first = await ledger.claim()
    second = await ledger.claim(now=after(5))

    assert [item.phone for item in first + second] == [number(1), number(2)]


@pytest.mark.parametrize(
    ("plan", "started_on", "limit"),
    [
        ([2, 4], None, 2),
        ([2, 4], date(2026, 11, 25), 2),
        ([2, 4], date(2026, 11, 24), 4),
        ([2, 4], date(2026, 11, 23), 5),
        ([2, 40], date(2026, 11, 24), 5),
        (None, None, 5),
    ],
)
async def test_new_line_sends_what_its_ramp_plan_allows(
    new_uow: UnitOfWorkFactory, plan: list[int] | None, started_on: date | None, limit: int
) -> None:
    async with new_uow() as uow:
        line = await make_line(
            uow.session, daily_limit=5, ramp_plan=plan, ramp_started_on=started_on
        )
    ledger = await Ledger.open(new_uow, people=8, line=line)

    claimed = await ledger.claim()

    assert len(claimed) == limit
    assert limit_on(plan, started_on, daily_limit=5, day=date(2026, 11, 25)) == limit


async def test_ramp_plan_begins_with_the_first_message(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session, ramp_plan=[2, 4])
    ledger = await Ledger.open(new_uow, people=8, line=line)

    first = await ledger.claim()
    (begun,) = await ledger.rows("SELECT ramp_started_on FROM line")
    async with new_uow() as uow:
        used = await usage.count_sent_today(uow.session, line_ids=[line.id], times=TIMES, now=NOW)
    for position, claimed in enumerate(first):
        await ledger.begin_calls(limit=0)
        await ledger.accept(claimed, f"AC{position}")
    tomorrow = await ledger.claim(now=NOW + timedelta(days=1))

    assert begun.ramp_started_on == date(2026, 11, 25)
    assert used == {line.id: 2}
    assert (len(first), len(tomorrow)) == (2, 4)


async def test_line_on_trial_sends_one_message_at_a_time(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session, is_probing=True)
    ledger = await Ledger.open(new_uow, people=5, line=line)

    (probe,) = await ledger.claim()
    meanwhile = await ledger.claim(now=after(1))
    await ledger.gate([probe], now=after(1))
    await ledger.accept(probe, now=after(2))
    afterwards = await ledger.claim(now=after(3))

    assert probe.is_probe
    assert meanwhile == []
    assert len(afterwards) == 4
    assert not any(item.is_probe for item in afterwards)


async def test_number_gets_no_more_than_the_frequency_cap(new_uow: UnitOfWorkFactory) -> None:
    cap = {"texts": 2, "days": 30}
    line = None
    for position in range(2):
        earlier = await Ledger.open(new_uow, line=line)
        line = earlier.line
        (claimed,) = await earlier.begin_calls(now=after(position * 60))
        await earlier.accept(claimed, f"AC{position}", now=after(position * 60 + 1))
    ledger = await Ledger.open(new_uow, line=line, frequency_cap=cap)

    too_soon = await ledger.claim(now=NOW + timedelta(days=29))
    in_time = await ledger.claim(now=NOW + timedelta(days=30, minutes=2))

    assert too_soon == []
    assert len(in_time) == 1


async def test_recently_messaged_number_is_due_when_the_minimum_days_are_over(
    new_uow: UnitOfWorkFactory,
) -> None:
    earlier = await Ledger.open(new_uow)
    (claimed,) = await earlier.begin_calls()
    await earlier.accept(claimed)
    soon = await Ledger.open(new_uow, line=earlier.line, min_days_between=1)
    late = await Ledger.open(new_uow, line=earlier.line, min_days_between=30)

    await soon.claim(now=after(3600))
    await late.claim(now=after(3600))

    assert (await soon.recipient()).due_at == NOW + timedelta(days=1)
    assert (await late.recipient()).due_at == after(3600) + timedelta(days=1)


async def test_recipients_of_a_stopped_variant_get_the_other_variants(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=40, bodies=("First", "Second", "Third"))
    await ledger.run("UPDATE campaign_membership SET variant = 1")
    await ledger.run("UPDATE campaign_variant SET stopped_at = :now WHERE position = 1", now=NOW)

    claimed = await ledger.claim()

    recipients = await ledger.recipients()
    bodies = {item.phone: item.body for item in claimed}
    assert {recipient.variant for recipient in recipients} == {0, 2}
    assert all(bodies[m.phone] == ("First", "Second", "Third")[m.variant] for m in recipients)
    counts = await ledger.rows(
        "SELECT variant, sum(people) AS people FROM campaign_tally "
        "GROUP BY variant HAVING sum(people) > 0"
    )
    assert sum(row.people for row in counts) == 40
    assert {row.variant for row in counts} == {0, 2}


async def test_wait_grows_with_every_postponed_call(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    now = NOW
    longest = timedelta(0)
    for tries in range(6):
        (claimed,) = await ledger.begin_calls(now=now)
        await ledger.answer(claimed, ResponseKind.NOT_CONNECTED, now=now)
        recipient = await ledger.recipient()
        wait = recipient.due_at - now
        assert timedelta(0) <= wait <= timedelta(seconds=30 * 2**tries)
        assert (recipient.status, recipient.attempts) == ("pending", 0)
        longest = max(longest, wait)
        now = max(recipient.due_at, now + timedelta(seconds=1))
    assert longest > timedelta(seconds=30)


async def test_even_pace_ends_with_the_lines_day_if_the_window_is_open_longer(
    new_uow: UnitOfWorkFactory,
) -> None:
    # The window ends at midnight in Los Angeles, which is three hours after the end of the line's
    # day.
    ledger = await Ledger.open(
        new_uow,
        people=2,
        timezone="America/Los_Angeles",
        window_start=time(0),
        window_end=time(23, 59),
        **EVEN,
    )
    async with new_uow() as uow:
        order = await ledger.order(uow)
    assert order is not None

    async with new_uow() as uow:
        await claim.claim_recipients(
            uow, replace(order, pacing=Even(jitter=1.0)), limit=1, times=TIMES, now=NOW
        )

    assert await next_at(ledger) == NOW + timedelta(hours=14) / 125


async def test_jitter_of_the_plan_differs_each_time(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, **EVEN)
    found = set()

    for _ in range(10):
        async with new_uow() as uow:
            order = await ledger.order(uow)
        assert order is not None
        assert isinstance(order.pacing, Even)
        found.add(order.pacing.jitter)

    assert len(found) > 1
    assert 0.5 <= min(found) <= max(found) <= 1.5
