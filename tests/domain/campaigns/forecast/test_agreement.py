"""Forecast and explanation agree about every rule that delays a person.

The seed is printed when a test fails; set ``CRM_TEST_SEED`` to repeat the run.
"""

import os
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.forecast.situations import NewUow, forecast, make_running_campaign
from tests.domain.messaging.sends.ledger import BUSINESS, TIMES
from tests.factories import make_campaign, make_contact, make_member, number

from crm_api.domain.campaigns.explain.explanation import ExplanationRead
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.campaigns.forecast.schemas import ForecastRead
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.domain.messaging.models.lines import CompanySettings, Line

SEED = int(os.environ.get("CRM_TEST_SEED", "20261128"))
US = load_rules("us")
MA, FL, HI = "MA/America/New_York", "FL/America/New_York", "HI/Pacific/Honolulu"
AMPLE: dict[str, Any] = {
    "daily_limit": 9000,
    "pacing_mode": "burst",
    "batch_size": 900,
    "batch_interval_minutes": 1,
}
SOON = timedelta(minutes=15)
"""Longest time from the first allowed instant to the message, if only the rules delay it."""


@dataclass(kw_only=True)
class TwoCampaigns:
    """A campaign, and another campaign that may have sent messages to the same people."""

    session: AsyncSession
    new_uow: NewUow
    campaign: Campaign
    other: Campaign
    people: list[UUID]

    @classmethod
    async def open(
        cls, session: AsyncSession, new_uow: NewUow, zone_keys: list[str], **values: Any
    ) -> "TwoCampaigns":
        rows = await make_running_campaign(
            session, line_values={"daily_limit": 9000}, **(AMPLE | values)
        )
        line = await session.get_one(Line, rows.line.id)
        other = await make_campaign(session, line=line, status="completed")
        people = []
        for position, zone_key in enumerate(zone_keys):
            contact = await make_contact(session, phone=number(position), zone_key=zone_key)
            await make_member(session, campaign=rows.campaign, contact=contact)
            people.append(contact.id)
        rows.campaign.zone_keys = sorted(set(zone_keys))
        rows.campaign.recipients_total = len(zone_keys)
        await session.commit()
        return cls(
            session=session, new_uow=new_uow, campaign=rows.campaign, other=other, people=people
        )

    async def add_sent_message(
        self, position: int, at: datetime, *, by: Campaign | None = None
    ) -> None:
        await self.session.execute(
            text("""
                INSERT INTO send_attempt (id, kind, campaign_id, line_id, activity_id, phone, body,
                    status, called_at, accepted_at, created_at, updated_at)
                VALUES (uuid_v7(), 'campaign', :campaign_id, :line_id, uuid_v7(), :phone, 'Hi',
                    'delivered', :at, :at, :at, :at)
            """),
            {
                "campaign_id": (by or self.other).id,
                "line_id": self.campaign.line_id,
                "phone": number(position),
                "at": at,
            },
        )
        await self.session.commit()

    async def set_carrier_budgets(self, **budgets: int) -> None:
        carrier_budgets = {
            carrier: {"daily_segments": segments, "other_vendors": []}
            for carrier, segments in budgets.items()
        }
        self.session.add(CompanySettings(id=1, carrier_budgets=carrier_budgets, updated_at=NOW))
        await self.session.commit()

    async def set_due(self, position: int, at: datetime) -> None:
        await self.session.execute(
            text("UPDATE campaign_membership SET due_at = :at WHERE phone = :phone"),
            {"at": at, "phone": number(position)},
        )
        await self.session.commit()

    async def explain_all(self, rules: RuleBook) -> list[ExplanationRead]:
        found = []
        for contact in self.people:
            async with self.new_uow() as uow:
                found.append(
                    await explain_recipient(
                        uow,
                        campaign_id=self.campaign.id,
                        contact_id=contact,
                        step=None,
                        rules=rules,
                        business=BUSINESS,
                        times=TIMES,
                        now=NOW,
                    )
                )
        return found

    async def forecast(self, rules: RuleBook) -> ForecastRead:
        return await forecast(self.new_uow, self.campaign, rules=rules)


async def test_min_days_between_decides_the_finish(session: AsyncSession, new_uow: NewUow) -> None:
    campaigns = await TwoCampaigns.open(session, new_uow, [MA] * 3, min_days_between=30)
    await campaigns.add_sent_message(2, NOW - timedelta(days=1))

    found = await campaigns.forecast(NO_RULES)

    allowed_at = (await campaigns.explain_all(NO_RULES))[2].next_allowed_at
    assert allowed_at == NOW + timedelta(days=29)
    assert found.p50_finish_at is not None
    assert allowed_at <= found.p50_finish_at <= allowed_at + SOON
    assert found.binding_rule == "min_days_between"
    assert "1 person" in found.detail
    assert [day.texts for day in found.days] == [2, 1]
    assert found.people_waiting == 3


async def test_finish_includes_the_follow_up_of_a_delayed_person(
    session: AsyncSession, new_uow: NewUow
) -> None:
    steps = [{"after_hours": 48, "body": "Still there?"}]
    campaigns = await TwoCampaigns.open(
        session, new_uow, [MA] * 2, min_days_between=30, follow_ups=steps
    )
    await campaigns.add_sent_message(1, NOW - timedelta(days=1))

    found = await campaigns.forecast(NO_RULES)

    assert found.p50_finish_at is not None
    assert found.p50_finish_at >= NOW + timedelta(days=31)
    assert found.p50_finish_at < NOW + timedelta(days=32)


async def test_people_delayed_beyond_the_end_are_not_reached(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaigns = await TwoCampaigns.open(
        session, new_uow, [MA] * 3, min_days_between=30, end_at=NOW + timedelta(days=9)
    )
    await campaigns.add_sent_message(2, NOW - timedelta(days=1))

    found = await campaigns.forecast(NO_RULES)

    assert (found.not_reached, found.binding_rule) == (1, "min_days_between")


async def test_many_delayed_people_are_estimated_from_a_sample(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(
        session, min_days_between=30, line_values={"daily_limit": 9000}, **AMPLE
    )
    await rows.add_waiting(4000)
    await session.execute(
        text("""
            INSERT INTO send_attempt (id, kind, campaign_id, line_id, activity_id, phone, body,
                status, called_at, accepted_at, created_at, updated_at)
            SELECT uuid_v7(), 'campaign', :other, :line_id, uuid_v7(), m.phone, 'Hi', 'delivered',
                   :at, :at, :at, :at
            FROM campaign_membership m WHERE right(m.phone, 1) < '5'
        """),
        {"other": UUID(int=1), "line_id": rows.line.id, "at": NOW - timedelta(days=10)},
    )
    await session.commit()

    found = await forecast(new_uow, rows.campaign)

    assert found.people_waiting == pytest.approx(4000, rel=0.01)
    assert found.days[0].texts == pytest.approx(2000, rel=0.15)
    assert found.p50_finish_at is not None
    assert found.p50_finish_at.date() == (NOW + timedelta(days=20)).date()


@pytest.mark.parametrize("case", range(40))
async def test_forecast_agrees_with_explain_on_random_situations(
    session: AsyncSession, new_uow: NewUow, case: int
) -> None:
    print(f"CRM_TEST_SEED={SEED}")  # noqa: T201 - shown when the test fails
    dice = random.Random(SEED + case)  # noqa: S311 - a simulation
    zone_keys = [dice.choice([MA, FL, HI]) for _ in range(dice.randint(1, 7))]
    rules = dice.choice([NO_RULES, US])
    campaigns = await TwoCampaigns.open(
        session,
        new_uow,
        zone_keys,
        min_days_between=dice.choice([None, None, 7, 30]),
        frequency_cap=dice.choice([None, None, {"texts": 1, "days": 12}, {"texts": 2, "days": 40}]),
        timezone=dice.choice([None, "recipient"]),
    )
    for position in range(len(zone_keys)):
        for _ in range(dice.randint(0, 4)):
            ago = timedelta(hours=dice.choice([2, 9, 20, 70, 400, 800]), minutes=dice.random())
            await campaigns.add_sent_message(
                position, NOW - ago, by=dice.choice([campaigns.campaign, campaigns.other])
            )
        if dice.random() < 0.2:
            await campaigns.set_due(position, NOW + timedelta(hours=dice.randint(1, 90)))

    budget = dice.choice([None, None, 0, 3, 500])
    if budget is not None:
        await campaigns.set_carrier_budgets(t_mobile=budget)

    found = await campaigns.forecast(rules)
    explanations = await campaigns.explain_all(rules)

    print(found.detail)  # noqa: T201 - shown when the test fails
    allowed = [one.next_allowed_at for one in explanations]
    assert found.people_waiting == len(explanations)
    if budget == 0:
        assert set(allowed) == {None}
        assert (found.p50_finish_at, found.binding_rule) == (None, "carrier_budget")
        return
    last = max(at for at in allowed if at is not None)
    assert None not in allowed
    assert found.p50_finish_at is not None
    assert last <= found.p50_finish_at
    if budget == 3:
        # An explanation is about one person. It ignores that many people share the budget, so its
        # time may be earlier than the finish of the forecast.
        return
    assert found.p50_finish_at <= last + SOON
    latest = explanations[allowed.index(last)]
    if found.binding_rule is not None:
        # For a message that is due later, the explanation may name the rule ``waiting``. The
        # forecast names this rule ``follow_up_waits``.
        named = {stop.rule.replace("waiting", "follow_up_waits") for stop in latest.stops}
        assert found.binding_rule in named
