"""Forecasts that give no finish, with the reason: a stop, an end, or too much time."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.forecast.situations import (
    EVEN,
    NEW_YORK,
    NewUow,
    forecast,
    make_running_campaign,
)
from tests.domain.messaging.sends.ledger import TIMES
from tests.factories import make_campaign, make_contact, make_line, make_list, number

from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.forecast import recipients
from crm_api.domain.campaigns.forecast import service as forecasting
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.consent.legal_rules.rules import NO_RULES, load_rules


@pytest.mark.parametrize(
    ("values", "rule", "words"),
    [
        ({"status": "paused", "paused_reason": "opt_out_rate"}, "campaign_paused", "resume"),
        ({"status": "blocked", "blocked_reason": "content"}, "campaign_blocked", "resume"),
        (
            {"line_values": {"status": "blocked", "blocked_reason": "no credits"}},
            "line_blocked",
            "unblock",
        ),
    ],
)
async def test_stopped_campaign_has_no_finish_until_it_is_resumed(
    session: AsyncSession,
    new_uow: NewUow,
    values: dict[str, Any],
    rule: str,
    words: str,
) -> None:
    rows = await make_running_campaign(session, **values)
    await rows.add_waiting(130)

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
        ({"line_values": {"daily_limit": 0}}, "line_daily_limit", "never"),
        ({"days": ["sun"]}, "outside_schedule", "5 people"),
        ({"end_at": NOW - timedelta(hours=1)}, "campaign_ended", "clone"),
        ({"status": "cancelled", "finished_at": NOW}, "campaign_cancelled", "sends no more"),
    ],
)
async def test_campaign_without_a_finish_names_the_reason(
    session: AsyncSession,
    new_uow: NewUow,
    values: dict[str, Any],
    rule: str,
    words: str,
) -> None:
    rows = await make_running_campaign(session, **values)
    await rows.add_waiting(5, zone_key="AL/America/Chicago")

    found = await forecast(new_uow, rows.campaign, rules=load_rules("us"))

    assert (found.p50_finish_at, found.p90_finish_at) == (None, None)
    assert found.if_lifted is None
    assert found.binding_rule == rule
    assert words in found.detail


async def test_finished_campaign_shows_when_it_finished(
    session: AsyncSession, new_uow: NewUow
) -> None:
    at = NOW - timedelta(days=1)
    rows = await make_running_campaign(session, status="completed", finished_at=at)
    await rows.add_waiting(5, status="delivered")

    found = await forecast(new_uow, rows.campaign)

    assert (found.p50_finish_at, found.binding_rule) == (at, "campaign_completed")
    assert (found.texts, found.people_waiting) == (0, 0)


async def test_campaign_that_ends_early_counts_people_not_reached(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ends = datetime(2026, 11, 26, 23, 0, tzinfo=UTC)
    rows = await make_running_campaign(session, end_at=ends)
    await rows.add_waiting(300)

    found = await forecast(new_uow, rows.campaign)

    assert found.p50_finish_at == ends
    assert found.not_reached == 300 - sum(day.texts for day in found.days) == 50
    assert "50 people get no message" in found.detail


async def test_finish_beyond_ten_years_is_described(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_running_campaign(session, daily_limit=1)
    await rows.add_waiting(5000)

    found = await forecast(new_uow, rows.campaign)

    assert (found.p50_finish_at, found.binding_rule) == (None, "campaign_daily_limit")
    assert "more than ten years" in found.detail
    assert len(found.days) == 60
    assert found.later == found.texts - 60


async def test_people_who_wait_for_a_decision_are_counted_separately(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(session)
    for position, status in enumerate(("pending", "review", "held", "unknown")):
        await rows.add_waiting(position + 1, status=status, area=position)

    found = await forecast(new_uow, rows.campaign)

    assert found.people_waiting == 1
    assert found.outside.model_dump(exclude={"detail"}) == {"review": 2, "held": 3, "unknown": 4}
    assert "2 wait in review" in found.outside.detail


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
    assert "Raise `daily_limit` in the draft" in found.detail


async def test_long_list_of_a_draft_is_sampled(
    session: AsyncSession, new_uow: NewUow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "AUDIENCE_COUNTED", 20)
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


async def test_draft_without_recipients_names_the_empty_audience(
    session: AsyncSession, new_uow: NewUow
) -> None:
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
                limits=SendLimits(rules=NO_RULES, times=TIMES, texts_per_second=8),
                now=NOW,
            )
