"""Tests of the forecast route: authorisation and responses."""

from collections.abc import Awaitable, Callable
from datetime import time, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import format_instant
from crm_api.platform import clock

UNKNOWN_FORECAST = "/v1/campaigns/00000000-0000-7000-8000-000000000000/forecast"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
INSTANT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


async def create_running_campaign(
    session: AsyncSession, *, people: int = 12, **values: Any
) -> Campaign:
    """Create a campaign that may send five messages a day, at any hour."""
    line = await make_line(session, timezone="America/New_York", daily_limit=5)
    hours: dict[str, Any] = {"window_start": time(0), "window_end": time(23, 59)}
    campaign = await make_campaign(session, line=line, daily_limit=40, **(hours | values))
    for position in range(people):
        person = await make_contact(session, phone=number(position))
        await make_member(session, campaign=campaign, contact=person)
    await session.commit()
    return campaign


async def test_forecast_needs_a_key(client: httpx.AsyncClient) -> None:
    response = await client.get(UNKNOWN_FORECAST, headers={"Authorization": ""})

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


async def test_forecast_needs_its_scope(client: httpx.AsyncClient, key_with: KeyWith) -> None:
    response = await client.get(UNKNOWN_FORECAST, headers=await key_with(Scope.CAMPAIGNS_SEND))

    assert response.status_code == 403
    assert response.json()["required_scope"] == "campaigns:read"


async def test_forecast_of_an_unknown_campaign_is_not_found(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    response = await client.get(UNKNOWN_FORECAST, headers=await key_with(Scope.CAMPAIGNS_READ))

    assert response.status_code == 404
    assert response.json()["code"] == "campaign_not_found"


async def test_forecast_of_an_invalid_id_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/campaigns/autumn/forecast")

    assert response.status_code == 404


async def test_forecast_has_end_binding_rule_and_assumptions(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_running_campaign(session)

    response = await client.get(f"/v1/campaigns/{campaign.id}/forecast")

    assert response.status_code == 200, response.text
    found = response.json()
    assert list(found) == [
        "campaign_id",
        "status",
        "as_of",
        "first_send_at",
        "p50_finish_at",
        "p90_finish_at",
        "binding_rule",
        "detail",
        "if_lifted",
        "people_waiting",
        "texts",
        "not_reached",
        "days",
        "later",
        "assumptions",
        "outside",
    ]
    assert found["campaign_id"] == str(campaign.id)
    assert (found["status"], found["people_waiting"], found["texts"]) == ("running", 12, 12)
    # The line sends five messages a day, so twelve messages need three days.
    assert [day["texts"] for day in found["days"]] == [5, 5, 2]
    assert found["as_of"] <= found["first_send_at"] < found["p50_finish_at"]
    assert found["p50_finish_at"] <= found["p90_finish_at"]
    assert found["p50_finish_at"][:10] >= found["days"][2]["date"]
    assert found["binding_rule"] == "line_daily_limit"
    assert "may send 5 messages a day" in found["detail"]
    assert found["assumptions"] == {
        "begins_at": found["as_of"],
        "campaign_daily_limit": 40,
        "line_daily_limit": 5,
        "texts_per_second": 8.0,
        "competing_campaigns": 0,
        "competing_texts": 0,
        "other_texts_a_day": "0.0",
        "reply_rate": "0.0500",
        "replies_of": 0,
        "repeat_rate": "0.0020",
        "repeats_of": 0,
        "people_by_place": "counted",
        "left_out": found["assumptions"]["left_out"],
    }
    assert found["outside"] == {
        "review": 0,
        "held": 0,
        "unknown": 0,
        "detail": "The forecast includes all recipients who may get a message.",
    }


async def test_forecast_of_a_paused_campaign_has_no_end_and_explains_how_to_resume(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_running_campaign(session)
    paused = await client.post(f"/v1/campaigns/{campaign.id}/pause")
    assert paused.status_code == 200

    found = (await client.get(f"/v1/campaigns/{campaign.id}/forecast")).json()

    assert (found["p50_finish_at"], found["p90_finish_at"]) == (None, None)
    assert found["binding_rule"] == "campaign_paused"
    assert f"/v1/campaigns/{campaign.id}/resume" in found["detail"]
    assert found["if_lifted"]["p50_finish_at"] is not None
    assert found["days"] == []


async def test_forecast_begins_at_the_scheduled_start(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    start_at = clock.now() + timedelta(days=30)
    campaign = await create_running_campaign(
        session, people=2, status="scheduled", start_at=start_at
    )

    found = (await client.get(f"/v1/campaigns/{campaign.id}/forecast")).json()

    assert found["assumptions"]["begins_at"] == format_instant(start_at)
    assert found["binding_rule"] == "not_started"
    assert found["p50_finish_at"] > format_instant(start_at)
    assert UUID(found["campaign_id"]) == campaign.id
