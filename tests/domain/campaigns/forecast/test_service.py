"""Forecasts of stored campaigns: their input, and their agreement with the claims."""

import random
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.forecast.situations import (
    EVEN,
    NEW_YORK,
    NewUow,
    forecast,
    make_running_campaign,
)
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.factories import make_contact, make_member, number

from crm_api.domain.campaigns.forecast import line_load, recipients
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends import claim
from crm_api.domain.messaging.sends.replies import PersonReply, RepliedTo, note_replies
from crm_api.platform.database import UnitOfWorkFactory

CALIFORNIA = "CA/America/Los_Angeles"
SEED = 11
"""Seed of the planner's jitter (random variation of times)."""
MIX_ZONE_KEYS = text("""
    UPDATE campaign_membership m
    SET due_at = CAST(:now AS timestamptz) - x.ahead * interval '1 hour'
    FROM (SELECT id, percent_rank() OVER (PARTITION BY zone_key ORDER BY id) AS ahead
          FROM campaign_membership) x
    WHERE m.id = x.id
""")
"""Statement that spreads the people of each zone key over the whole queue.

A zone key is a state and a time zone. A stored audience has the same order.
"""
BUSINESS = Business(name="Granite", contact="+16175550100")


async def send_all(ledger: Ledger) -> tuple[datetime, Counter[date]]:
    """Plan and claim until no recipient waits; return the last instant and the messages per day.

    The clock moves each time to the next instant at which a message may be sent.
    """
    now, last = NOW, NOW
    sent: Counter[date] = Counter()
    while now < NOW + timedelta(days=9):
        async with ledger.new_uow() as uow:
            plan = await planning.plan_sends(uow, rules=NO_RULES, business=BUSINESS, now=now)
        for order in plan.orders:
            async with ledger.new_uow() as uow:
                claimed = (
                    await claim.claim_recipients(uow, order, limit=100, times=TIMES, now=now)
                ).claimed
            for item in await ledger.gate(claimed, now=now):
                await ledger.accept(item, f"AC{item.phone}", at=now, now=now)
                sent[now.astimezone(NEW_YORK).date()] += 1
                last = now
        (left,) = await ledger.rows(
            "SELECT count(*) AS people FROM campaign_membership WHERE status = 'pending'"
        )
        if not left.people:
            return last, sent
        after_claim = now + timedelta(seconds=1)
        half_an_hour_on = now.replace(minute=now.minute // 30 * 30) + timedelta(minutes=30)
        now = after_claim if plan.orders else plan.wakes_at or half_an_hour_on
    raise AssertionError(sent)


async def test_forecast_agrees_with_the_claims(new_uow: UnitOfWorkFactory) -> None:
    """Test a campaign that takes three days and has recipients in two time zones."""
    random.seed(SEED)
    ledger = await Ledger.open(
        new_uow, people=40, line_limit=40, daily_limit=35, timezone="recipient", **EVEN
    )
    async with new_uow() as uow:
        campaign = await uow.session.get_one(Campaign, ledger.campaign.id)
        for position in range(40, 85):
            contact = await make_contact(uow.session, phone=number(position), zone_key=CALIFORNIA)
            await make_member(uow.session, campaign=campaign, contact=contact)
        await uow.session.execute(MIX_ZONE_KEYS, {"now": NOW})
    found = await forecast(new_uow, ledger.campaign)

    finished, sent = await send_all(ledger)

    assert found.p50_finish_at is not None
    assert abs(found.p50_finish_at - finished) < timedelta(hours=1)
    shown = {day.date: day.texts for day in found.days}
    # The times between messages are random, so the last message of a day may move to the next day.
    assert shown == {day: pytest.approx(count, abs=3) for day, count in sent.items()}
    assert found.binding_rule == "campaign_daily_limit"


@pytest.mark.parametrize(("line_limit", "daily_limit"), [(8, 100), (100, 8)])
async def test_forecast_begins_with_the_remaining_limit_of_today(
    new_uow: UnitOfWorkFactory, line_limit: int, daily_limit: int
) -> None:
    ledger = await Ledger.open(new_uow, people=10, line_limit=line_limit, daily_limit=daily_limit)
    for position, item in enumerate(await ledger.begin_calls(limit=5)):
        await ledger.accept(item, f"AC{position}")

    found = await forecast(new_uow, ledger.campaign, now=after(60))

    assert [day.texts for day in found.days] == [3, 2]
    assert found.people_waiting == 5


async def test_campaign_that_starts_tomorrow_has_the_whole_limit_of_its_first_day(
    new_uow: UnitOfWorkFactory,
) -> None:
    other = await Ledger.open(new_uow, people=30, line_limit=50, daily_limit=40)
    for position, item in enumerate(await other.begin_calls(limit=30)):
        await other.accept(item, f"AC{position}")
    own = await Ledger.open(
        new_uow,
        people=0,
        line=other.line,
        daily_limit=100,
        status="scheduled",
        start_at=NOW + timedelta(days=1),
    )
    async with new_uow() as uow:
        campaign = await uow.session.get_one(Campaign, own.campaign.id)
        for position in range(100, 160):
            contact = await make_contact(uow.session, phone=number(position))
            await make_member(uow.session, campaign=campaign, contact=contact)

    found = await forecast(new_uow, own.campaign, now=after(60))

    assert [day.texts for day in found.days] == [50, 10]


async def test_forecast_shares_the_line_with_other_campaigns(
    session: AsyncSession, new_uow: NewUow
) -> None:
    own = await make_running_campaign(session)
    await own.add_waiting(125)
    other = await make_running_campaign(session, line=own.line)
    await other.add_waiting(900)
    paused = await make_running_campaign(session, line=own.line, status="paused")
    await paused.add_waiting(900)

    found = await forecast(new_uow, own.campaign)

    assert [day.texts for day in found.days] == [62, 62]
    assert found.binding_rule == "other_campaigns"
    assert "1 other campaign has 900 messages" in found.detail
    assert (found.assumptions.competing_campaigns, found.assumptions.competing_texts) == (1, 900)


async def test_other_campaign_with_a_used_up_limit_takes_no_more_of_the_line(
    new_uow: UnitOfWorkFactory,
) -> None:
    other = await Ledger.open(new_uow, people=60, line_limit=100, daily_limit=30)
    for position, item in enumerate(await other.begin_calls(limit=30)):
        await other.accept(item, f"AC{position}")
    own = await Ledger.open(new_uow, people=0, line=other.line, daily_limit=100)
    async with new_uow() as uow:
        campaign = await uow.session.get_one(Campaign, own.campaign.id)
        for position in range(100, 180):
            contact = await make_contact(uow.session, phone=number(position))
            await make_member(uow.session, campaign=campaign, contact=contact)

    found = await forecast(new_uow, own.campaign, now=after(60))

    assert [day.texts for day in found.days] == [70, 10]


async def test_other_campaign_whose_hours_are_over_leaves_the_line_free_today(
    session: AsyncSession, new_uow: NewUow
) -> None:
    own = await make_running_campaign(session)
    await own.add_waiting(150)
    early = await make_running_campaign(
        session, line=own.line, window_start=time(7), window_end=time(9, 30)
    )
    await early.add_waiting(900)

    found = await forecast(new_uow, own.campaign)

    assert [day.texts for day in found.days] == [125, 25]


async def test_follow_ups_of_other_campaigns_count_as_competing_messages(
    session: AsyncSession, new_uow: NewUow
) -> None:
    own = await make_running_campaign(session)
    await own.add_waiting(10)
    steps = [{"after_hours": 24, "body": "Hi"}, {"after_hours": 24, "body": "Hi again"}]
    other = await make_running_campaign(session, line=own.line, follow_ups=steps)
    await other.add_waiting(20)
    await other.add_waiting(5, step=2, area=1)

    found = await forecast(new_uow, own.campaign)

    assert found.assumptions.competing_texts == 20 * 3 + 5


async def test_many_campaigns_on_the_line_are_combined(
    session: AsyncSession, new_uow: NewUow
) -> None:
    own = await make_running_campaign(session, line_values={"daily_limit": 2000})
    await own.add_waiting(100)
    for _ in range(30):
        other = await make_running_campaign(session, line=own.line, daily_limit=50)
        await other.add_waiting(40)

    found = await forecast(new_uow, own.campaign)

    assert found.assumptions.competing_campaigns == 30
    assert sum(day.texts for day in found.days) == 100


async def test_many_people_are_sampled_and_small_zone_keys_counted(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(
        session, timezone="recipient", daily_limit=9000, line_values={"daily_limit": 9000}
    )
    await rows.add_waiting(4000)
    await rows.add_waiting(3, zone_key="HI/Pacific/Honolulu", area=1)

    found = await forecast(new_uow, rows.campaign)

    assert found.assumptions.people_by_place == "sampled"
    assert found.people_waiting == 4003
    assert found.texts == pytest.approx(4003, rel=0.01)
    # 09:00 in Honolulu is 14:00 in New York. Massachusetts has no messages left or is closed by
    # 18:00, so the last message goes to Honolulu.
    assert found.p50_finish_at is not None
    assert found.p50_finish_at.astimezone(NEW_YORK).hour >= 14


async def test_zone_key_that_no_sample_contains_is_counted(
    session: AsyncSession, new_uow: NewUow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "SAMPLED_PAGES", 0)
    rows = await make_running_campaign(session, timezone="recipient")
    await rows.add_waiting(4000)
    await rows.add_waiting(3, zone_key="HI/Pacific/Honolulu", area=1)

    async with new_uow() as uow:
        found = await recipients.read_people(uow.session, rows.campaign, rules=NO_RULES, now=NOW)

    people = {group.zone_key: group.people for group in found.waiting}
    assert people == {"MA/America/New_York": 4000, "HI/Pacific/Honolulu": 3}


@pytest.mark.parametrize("is_sampled", [False, True])
async def test_people_whom_no_rule_can_delay_are_only_counted(
    session: AsyncSession,
    new_uow: NewUow,
    monkeypatch: pytest.MonkeyPatch,
    is_sampled: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    # Other tests may have left a large table file with few rows. A sample reads only a part of the
    # file and could miss the rows of this test.
    monkeypatch.setattr(recipients, "SAMPLED_PAGES", 1_000_000)
    rows = await make_running_campaign(session)
    await rows.add_waiting(30)
    await rows.add_waiting(2, due_at=NOW + timedelta(hours=20), area=1)

    async with new_uow() as uow:
        found = await recipients.list_texted(
            uow.session, campaign=rows.campaign, hours=24, is_sampled=is_sampled, now=NOW
        )

    assert [(one.due_at - NOW, one.read) for one in found] == [(timedelta(hours=20), 32)] * 2


async def test_follow_ups_wait_for_people_who_do_not_reply(
    session: AsyncSession, new_uow: NewUow
) -> None:
    steps = [{"after_hours": 48, "body": "Still there?"}]
    rows = await make_running_campaign(session, follow_ups=steps)
    await rows.add_waiting(100)
    await rows.add_waiting(10, status="sent", area=1)
    await rows.add_waiting(10, step=1, due_at=NOW + timedelta(hours=40), area=1)

    found = await forecast(new_uow, rows.campaign)

    # A few of the 100 waiting people are assumed to reply, and about 96 get a follow-up. Ten other
    # people already wait for their follow-up.
    assert found.texts == pytest.approx(100 + 96 + 10, abs=2)
    assert found.p50_finish_at is not None
    assert found.p50_finish_at > NOW + timedelta(hours=48)
    assert found.binding_rule == "follow_up_waits"
    assert found.assumptions.replies_of == 10


async def test_forecast_waits_for_postponed_people(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_running_campaign(session)
    await rows.add_waiting(3, due_at=NOW + timedelta(hours=20))

    found = await forecast(new_uow, rows.campaign)

    assert found.p50_finish_at is not None
    assert found.p50_finish_at >= datetime(2026, 11, 26, 14, 0, tzinfo=UTC)
    assert found.binding_rule == "follow_up_waits"
    assert "postponed" in found.detail


async def test_measured_reply_rate_replaces_the_assumed_rate(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(
        session, follow_ups=[{"after_hours": 48, "body": "Still there?"}]
    )
    await rows.add_waiting(100)
    await rows.add_waiting(400, status="sent", area=1)
    await session.execute(
        text("UPDATE campaign_membership SET replied_at = :now WHERE status = 'sent'"), {"now": NOW}
    )
    await session.commit()

    found = await forecast(new_uow, rows.campaign)

    assert float(found.assumptions.reply_rate) > 0.85
    assert found.texts < 120


async def test_reply_to_a_follow_up_counts_once(session: AsyncSession, new_uow: NewUow) -> None:
    steps = [{"after_hours": 24, "body": "Still there?"}]
    rows = await make_running_campaign(session, follow_ups=steps, daily_limit=10)
    await rows.add_waiting(100)
    await rows.add_waiting(200, status="sent", area=1)
    await rows.add_waiting(200, status="sent", step=1, area=1)
    await session.execute(
        text("""
            UPDATE campaign_membership f SET contact_id = m.contact_id
            FROM campaign_membership m WHERE f.step = 1 AND m.step = 0 AND m.phone = f.phone
        """)
    )
    reached = await session.scalars(
        text("SELECT contact_id FROM campaign_membership WHERE step = 1 ORDER BY phone LIMIT 100")
    )
    replies = [
        PersonReply(
            to=RepliedTo(campaign_id=rows.campaign.id, contact_id=contact_id, step=1),
            at=NOW,
            is_opt_out=position < 10,
        )
        for position, contact_id in enumerate(reached.all())
    ]
    async with new_uow() as uow:
        await note_replies(uow, replies, now=NOW)

    found = await forecast(new_uow, rows.campaign)

    # 100 of 400 messages got a reply. The assumed rate of 0.05 has the weight of 50 messages. So
    # the rate is (100 + 2.5) / 450, and about 77 of the 100 waiting people get a follow-up.
    assert found.assumptions.reply_rate == "0.2278"
    assert found.assumptions.replies_of == 400
    assert found.texts == pytest.approx(177, abs=1)
    assert [day.texts for day in found.days] == [10] * 17 + [pytest.approx(7, abs=1)]
    assert found.p50_finish_at is not None
    assert found.p50_finish_at.astimezone(NEW_YORK).date() == date(2026, 12, 12)
    assert found.p90_finish_at is not None
    assert found.p90_finish_at > found.p50_finish_at
    assert found.binding_rule == "campaign_daily_limit"


@pytest.mark.parametrize("newest", [5_000, 100])
async def test_other_messages_of_the_line_use_part_of_its_daily_limit(
    new_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch, newest: int
) -> None:
    """Test that manual messages, about 20 a day in the last two weeks, count towards the limit."""
    monkeypatch.setattr(line_load, "NEWEST_TEXTS", newest)
    ledger = await Ledger.open(new_uow, people=100, line_limit=40, daily_limit=100)
    async with new_uow() as uow:
        await uow.session.execute(update(Line).values(created_at=NOW - timedelta(days=90)))
        await uow.session.execute(
            text("""
                INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status,
                    accepted_at, created_at, updated_at)
                SELECT uuid_v7(), 'manual', :line_id, uuid_v7(), '+16175550199', 'Hi', 'sent',
                       CAST(:now AS timestamptz) - n * interval '72 minutes', :now, :now
                FROM generate_series(1, 279) n
            """),
            {"line_id": ledger.line.id, "now": NOW},
        )

    found = await forecast(new_uow, ledger.campaign)

    assert float(found.assumptions.other_texts_a_day) == pytest.approx(20, abs=0.2)
    assert [day.texts for day in found.days][1:4] == [20, 20, 20]
