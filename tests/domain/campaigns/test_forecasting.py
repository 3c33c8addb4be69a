"""Forecasts of stored campaigns: against the claims themselves, and with what stands in the way."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.sends.ledger import TIMES, Ledger, after
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member, number

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.campaigns import forecast_situation, forecasting, planning
from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.forecast_answers import ForecastRead
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.lines.models import Line
from crm_api.domain.sends import claiming

NewUow = Callable[[], UnitOfWork]
EVEN: dict[str, Any] = {"pacing_mode": "even", "batch_size": None, "batch_interval_minutes": None}
CALIFORNIA = "CA/America/Los_Angeles"
NEW_YORK = ZoneInfo("America/New_York")
SEED = 11
"""Of the planner's jitter."""
MIX = text("""
    UPDATE campaign_membership m
    SET due_at = CAST(:now AS timestamptz) - x.ahead * interval '1 hour'
    FROM (SELECT id, percent_rank() OVER (PARTITION BY zone_key ORDER BY id) AS ahead
          FROM campaign_membership) x
    WHERE m.id = x.id
""")
"""The queue in an order in which the places are mixed, as those of an audience are."""
WHO = Business(name="Granite", contact="+16175550100")


async def forecast(
    new_uow: UnitOfWorkFactory,
    campaign: Campaign,
    *,
    now: datetime = NOW,
    rules: RuleBook = NO_RULES,
) -> ForecastRead:
    async with new_uow() as uow:
        return await forecasting.forecast(
            uow,
            campaign_id=campaign.id,
            rules=rules,
            times=TIMES,
            texts_per_second=8,
            now=now,
        )


@dataclass(kw_only=True)
class Running:
    """A campaign with so many who wait, written by one statement."""

    session: AsyncSession
    line: Line
    campaign: Campaign

    async def wait(
        self, people: int, *, zone_key: str = "MA/America/New_York", **values: Any
    ) -> None:
        await self.session.execute(
            text("""
                INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key,
                    status, due_at, created_at, updated_at)
                SELECT uuid_v7(), :campaign_id, :step, uuid_v7(),
                       '+1' || (200 + :area) || '555' || lpad(n::text, 4, '0'),
                       :zone_key, :status, :due_at, :now, :now
                FROM generate_series(1, :people) n
            """),
            {
                "campaign_id": self.campaign.id,
                "people": people,
                "zone_key": zone_key,
                "step": values.get("step", 0),
                "status": values.get("status", "pending"),
                "due_at": values.get("due_at", NOW),
                "area": values.get("area", 0),
                "now": NOW,
            },
        )
        keys = sorted({*self.campaign.zone_keys, zone_key})
        await self.session.execute(
            update(Campaign)
            .where(Campaign.id == self.campaign.id)
            .values(zone_keys=keys, recipients_total=people)
        )
        self.campaign.zone_keys = keys
        await self.session.commit()


async def running(session: AsyncSession, *, line: Line | None = None, **values: Any) -> Running:
    line = line or await make_line(
        session, timezone="America/New_York", **values.pop("of_line", {})
    )
    campaign = await make_campaign(session, line=line, **(EVEN | values))
    return Running(session=session, line=line, campaign=campaign)


async def send_all(ledger: Ledger) -> tuple[datetime, Counter[date]]:
    """Let the planner and the claim send everything, the clock moved to when more may go."""
    now, last = NOW, NOW
    sent: Counter[date] = Counter()
    while now < NOW + timedelta(days=9):
        async with ledger.new_uow() as uow:
            plan = await planning.plan(uow, rules=NO_RULES, business=WHO, now=now)
        for order in plan.orders:
            async with ledger.new_uow() as uow:
                claimed = (
                    await claiming.claim(uow, order, limit=100, times=TIMES, now=now)
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


async def test_forecast_agrees_with_the_claims_themselves(new_uow: UnitOfWorkFactory) -> None:
    """Two zones, each by its own clock, over three days."""
    random.seed(SEED)
    ledger = await Ledger.open(
        new_uow, people=40, line_limit=40, daily_limit=35, timezone="recipient", **EVEN
    )
    async with new_uow() as uow:
        campaign = await uow.session.get_one(Campaign, ledger.campaign.id)
        for position in range(40, 85):
            person = await make_contact(uow.session, phone=number(position), zone_key=CALIFORNIA)
            await make_member(uow.session, campaign=campaign, contact=person)
        await uow.session.execute(MIX, {"now": NOW})
    found = await forecast(new_uow, ledger.campaign)

    finished, sent = await send_all(ledger)

    assert found.p50_finish_at is not None
    assert abs(found.p50_finish_at - finished) < timedelta(hours=1)
    shown = {day.date: day.texts for day in found.days}
    # Distances vary at random, so that a day's last text may fall to the next one.
    assert shown == {day: pytest.approx(count, abs=3) for day, count in sent.items()}
    assert found.binding_rule == "campaign_daily_limit"


async def test_forecast_begins_where_today_stands(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=10, line_limit=8, daily_limit=8)
    for position, item in enumerate(await ledger.called(limit=5)):
        await ledger.accept(item, f"AC{position}")

    found = await forecast(new_uow, ledger.campaign, now=after(60))

    assert [day.texts for day in found.days] == [3, 2]
    assert found.people_waiting == 5


async def test_forecast_shares_the_line_with_other_campaigns(
    session: AsyncSession, new_uow: NewUow
) -> None:
    own = await running(session)
    await own.wait(125)
    other = await running(session, line=own.line)
    await other.wait(900)
    paused = await running(session, line=own.line, status="paused")
    await paused.wait(900)

    found = await forecast(new_uow, own.campaign)

    assert [day.texts for day in found.days] == [62, 62]
    assert found.binding_rule == "other_campaigns"
    assert "1 other campaign has 900 texts" in found.detail
    assert (found.assumptions.competing_campaigns, found.assumptions.competing_texts) == (1, 900)


async def test_many_campaigns_on_the_line_are_taken_together(
    session: AsyncSession, new_uow: NewUow
) -> None:
    own = await running(session, of_line={"daily_limit": 2000})
    await own.wait(100)
    for _ in range(30):
        other = await running(session, line=own.line, daily_limit=50)
        await other.wait(40)

    found = await forecast(new_uow, own.campaign)

    assert found.assumptions.competing_campaigns == 30
    assert sum(day.texts for day in found.days) == 100


@pytest.mark.parametrize(
    ("values", "rule", "words"),
    [
        ({"status": "paused", "paused_reason": "opt_out_rate"}, "campaign_paused", "resume"),
        ({"status": "blocked", "blocked_reason": "content"}, "campaign_blocked", "resume"),
        (
            {"of_line": {"status": "blocked", "blocked_reason": "no credits"}},
            "line_blocked",
            "unblock",
        ),
    ],
)
async def test_campaign_that_is_stopped_has_no_end_until_that_is_lifted(
    session: AsyncSession,
    new_uow: NewUow,
    values: dict[str, Any],
    rule: str,
    words: str,
) -> None:
    rows = await running(session, **values)
    await rows.wait(130)

    found = await forecast(new_uow, rows.campaign)

    assert (found.p50_finish_at, found.p90_finish_at, found.days) == (None, None, [])
    assert found.binding_rule == rule
    assert words in found.detail
    assert found.if_lifted is not None
    assert found.if_lifted.p50_finish_at is not None
    assert found.if_lifted.p50_finish_at.astimezone(NEW_YORK).date() == date(2026, 11, 26)
    assert found.if_lifted.binding_rule == "line_daily_limit"


@pytest.mark.parametrize(
    ("values", "rule", "words"),
    [
        ({"daily_limit": 0}, "campaign_daily_limit", "never"),
        ({"of_line": {"daily_limit": 0}}, "line_daily_limit", "never"),
        ({"days": ["sun"]}, "outside_schedule", "5 people"),
        ({"end_at": NOW - timedelta(hours=1)}, "campaign_ended", "clone"),
        ({"status": "cancelled", "finished_at": NOW}, "campaign_cancelled", "nothing goes"),
    ],
)
async def test_campaign_that_never_ends_says_why(
    session: AsyncSession,
    new_uow: NewUow,
    values: dict[str, Any],
    rule: str,
    words: str,
) -> None:
    rows = await running(session, **values)
    await rows.wait(5, zone_key="AL/America/Chicago")

    found = await forecast(new_uow, rows.campaign, rules=load_rules("us"))

    assert (found.p50_finish_at, found.p90_finish_at) == (None, None)
    assert found.if_lifted is None
    assert found.binding_rule == rule
    assert words in found.detail


async def test_campaign_that_is_over_tells_when_it_was(
    session: AsyncSession, new_uow: NewUow
) -> None:
    at = NOW - timedelta(days=1)
    rows = await running(session, status="completed", finished_at=at)
    await rows.wait(5, status="delivered")

    found = await forecast(new_uow, rows.campaign)

    assert (found.p50_finish_at, found.binding_rule) == (at, "campaign_completed")
    assert (found.texts, found.people_waiting) == (0, 0)


async def test_campaign_that_ends_first_tells_whom_it_does_not_reach(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ends = datetime(2026, 11, 26, 23, 0, tzinfo=UTC)
    rows = await running(session, end_at=ends)
    await rows.wait(300)

    found = await forecast(new_uow, rows.campaign)

    assert found.p50_finish_at == ends
    assert found.not_reached == 300 - sum(day.texts for day in found.days) == 50
    assert "50 people will have got no text" in found.detail


async def test_years_are_said_to_be_years(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await running(session, daily_limit=1)
    await rows.wait(5000)

    found = await forecast(new_uow, rows.campaign)

    assert (found.p50_finish_at, found.binding_rule) == (None, "campaign_daily_limit")
    assert "more than ten years" in found.detail
    assert len(found.days) == 60
    assert found.later == found.texts - 60


async def test_people_who_wait_for_somebody_are_outside(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await running(session)
    for position, status in enumerate(("pending", "review", "held", "unknown")):
        await rows.wait(position + 1, status=status, area=position)

    found = await forecast(new_uow, rows.campaign)

    assert found.people_waiting == 1
    assert found.outside.model_dump(exclude={"detail"}) == {"review": 2, "held": 3, "unknown": 4}
    assert "2 wait in review" in found.outside.detail


async def test_many_are_sampled_and_small_places_counted(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await running(
        session, timezone="recipient", daily_limit=9000, of_line={"daily_limit": 9000}
    )
    await rows.wait(4000)
    await rows.wait(3, zone_key="HI/Pacific/Honolulu", area=1)

    found = await forecast(new_uow, rows.campaign)

    assert found.assumptions.people_by_place == "sampled"
    assert found.people_waiting == 4003
    assert found.texts == pytest.approx(4003, rel=0.01)
    # Nine o'clock in Honolulu is 14:00 in New York, and Massachusetts is done or not by 18:00.
    assert found.p50_finish_at is not None
    assert found.p50_finish_at.astimezone(NEW_YORK).hour >= 14


async def test_follow_ups_wait_their_time_for_those_who_do_not_answer(
    session: AsyncSession, new_uow: NewUow
) -> None:
    steps = [{"after_hours": 48, "body": "Still there?"}]
    rows = await running(session, follow_ups=steps)
    await rows.wait(100)
    await rows.wait(10, status="sent", area=1)
    await rows.wait(10, step=1, due_at=NOW + timedelta(hours=40), area=1)

    found = await forecast(new_uow, rows.campaign)

    # Of 100 about 5 answer, as is assumed; those 10 wait already.
    assert found.texts == pytest.approx(100 + 96 + 10, abs=2)
    assert found.p50_finish_at is not None
    assert found.p50_finish_at > NOW + timedelta(hours=48)
    assert found.binding_rule == "follow_up_waits"
    assert found.assumptions.replies_of == 10


async def test_replies_that_were_counted_are_believed(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await running(session, follow_ups=[{"after_hours": 48, "body": "Still there?"}])
    await rows.wait(100)
    await rows.wait(400, status="sent", area=1)
    await session.execute(
        text("UPDATE campaign_membership SET replied_at = :now WHERE status = 'sent'"), {"now": NOW}
    )
    await session.commit()

    found = await forecast(new_uow, rows.campaign)

    assert float(found.assumptions.reply_rate) > 0.85
    assert found.texts < 120


async def test_other_texts_of_the_line_take_their_part(new_uow: UnitOfWorkFactory) -> None:
    """Replies by hand count for the line's day: 20 a day were sent lately."""
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


async def test_draft_is_forecast_as_if_started_now(session: AsyncSession, new_uow: NewUow) -> None:
    line = await make_line(session, timezone="America/New_York")
    people = [await make_contact(session, phone=number(position)) for position in range(1, 31)]
    await session.execute(
        text("""
            INSERT INTO contact_flag (id, phone, flag_type, created_at)
            VALUES (uuid_v7(), :phone, 'opted_out', :now)
        """),
        {"phone": people[0].phone, "now": NOW},
    )
    homeowners = await make_list(session, contacts=people)
    draft = await make_campaign(
        session,
        line=line,
        status="draft",
        audience={"list_id": str(homeowners.id)},
        daily_limit=10,
        window_start=time(8),
        **EVEN,
    )
    await session.commit()

    found = await forecast(new_uow, draft)

    assert found.people_waiting == 29
    assert [day.texts for day in found.days] == [10, 10, 9]
    assert found.binding_rule == "campaign_daily_limit"
    assert "Raise daily_limit in the draft" in found.detail


async def test_long_list_of_a_draft_is_sampled(
    session: AsyncSession, new_uow: NewUow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast_situation, "AUDIENCE_COUNTED", 20)
    line = await make_line(session)
    people = [await make_contact(session, phone=number(position)) for position in range(1, 41)]
    homeowners = await make_list(session, contacts=people)
    draft = await make_campaign(
        session, line=line, status="draft", audience={"list_id": str(homeowners.id)}
    )
    await session.commit()

    found = await forecast(new_uow, draft)

    assert found.assumptions.people_by_place == "sampled"
    assert found.people_waiting == 40


async def test_draft_without_anybody_says_so(session: AsyncSession, new_uow: NewUow) -> None:
    line = await make_line(session)
    draft = await make_campaign(session, line=line, status="draft")
    await session.commit()

    found = await forecast(new_uow, draft)

    assert (found.p50_finish_at, found.binding_rule) == (None, "empty_audience")


async def test_unknown_campaign_has_no_forecast(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        with pytest.raises(CampaignNotFoundError):
            await forecasting.forecast(
                uow,
                campaign_id=UUID(int=0),
                rules=NO_RULES,
                times=TIMES,
                texts_per_second=8,
                now=NOW,
            )
