"""Tests of the launch check, which predicts what the start of a campaign does.

It shows recipients, skip reasons, times, cost, and whether the start is allowed. The tests compare
the check with the effect of the start.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.domain.campaigns.audiences import store_audience
from tests.factories import make_campaign, make_contact, make_line, make_list, number

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

BODY = "Hi {{ first_name }}, Main line here. Reply STOP to opt out."
FLAGS = {1: "opted_out", 2: "opted_out", 3: "opt_out_hold", 4: "do_not_contact"}


async def create_draft(session: AsyncSession, **values: Any) -> Campaign:
    """Create a draft for ten contacts: four have flags, one has no name, one got a message."""
    contacts = [
        await make_contact(
            session,
            phone=number(place),
            first_name=None if place == 5 else f"Ada{place}",
            last_name="Rossi",
        )
        for place in range(10)
    ]
    for place, flag in FLAGS.items():
        session.add(ContactFlag(phone=number(place), flag_type=flag, created_at=NOW))
    session.add(
        Activity(
            kind="message",
            direction="outgoing",
            origin="manual",
            contact_id=contacts[6].id,
            phone=number(6),
            status="delivered",
            occurred_at=NOW - timedelta(days=400),
            created_at=NOW,
            updated_at=NOW,
        )
    )
    found = await make_list(session, contacts=contacts)
    line = await make_line(session)
    values.setdefault("bodies", (BODY,))
    values.setdefault("audience", {"list_id": str(found.id)})
    campaign = await make_campaign(
        session, line=line, status="draft", previously_contacted="review", **values
    )
    await session.commit()
    return campaign


async def get_launch_check(client: httpx.AsyncClient, campaign: Campaign) -> dict[str, Any]:
    response = await client.get(f"/v1/campaigns/{campaign.id}/launch-check")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_counts_equal_the_counts_after_the_start(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: Callable[[], UnitOfWork]
) -> None:
    campaign = await create_draft(session)

    found = await get_launch_check(client, campaign)
    started = await client.post(f"/v1/campaigns/{campaign.id}/start")
    await store_audience(new_uow, campaign)

    assert found["can_start"] is True
    assert found["problems"] == []
    assert started.status_code == 200
    stats = (await client.get(f"/v1/campaigns/{campaign.id}/stats")).json()
    expected, actual = found["recipients"], stats["by_status"]
    assert expected == {
        "total": 10,
        "would_be_texted": 4,
        "review": 1,
        "held": 1,
        "skipped": {"opted_out": 2, "do_not_contact": 1, "missing_value": 1},
    }
    assert stats["recipients_total"] == expected["total"]
    assert actual["review"] == expected["review"]
    assert actual["held"] == expected["held"]
    # A missing value is detected only when the message is rendered. Recipients with a missing value
    # are therefore still pending right after the start.
    missing = expected["skipped"].pop("missing_value")
    assert actual["pending"] == expected["would_be_texted"] + missing
    for reason, people in expected["skipped"].items():
        rows = await client.get(
            f"/v1/campaigns/{campaign.id}/recipients", params={"skip_reason": reason}
        )
        assert len(rows.json()["data"]) == people


async def test_reasons_show_counts_and_samples_of_people(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(session)

    found = await get_launch_check(client, campaign)

    reasons = {one["rule"]: one for one in found["reasons"]}
    assert {rule: (one["outcome"], one["people"]) for rule, one in reasons.items()} == {
        "opted_out": ("skipped", 2),
        "do_not_contact": ("skipped", 1),
        "missing_value": ("skipped", 1),
        "opt_out_hold": ("held", 1),
        "previously_contacted": ("review", 1),
    }
    assert found["reasons"][0]["rule"] == "opted_out"
    assert {one["phone"] for one in reasons["opted_out"]["sample"]} == {number(1), number(2)}
    assert reasons["opted_out"]["sample"][0]["name"] == "Ada1 Rossi"
    assert reasons["missing_value"]["sample"][0]["name"] == "Rossi"
    assert all(one["detail"].endswith(".") for one in found["reasons"])


async def test_times_and_cost_equal_those_of_forecast_and_preview(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    # The API rounds times to milliseconds, so this time has no microseconds.
    start_at = (clock.now() + timedelta(days=3)).replace(microsecond=0)
    campaign = await create_draft(session, start_at=start_at, daily_limit=2)

    found = await get_launch_check(client, campaign)

    forecast = (await client.get(f"/v1/campaigns/{campaign.id}/forecast")).json()
    preview = (await client.post(f"/v1/campaigns/{campaign.id}/preview")).json()
    assert found["last_send_at"] == forecast["p50_finish_at"]
    assert found["last_send_at_p90"] == forecast["p90_finish_at"]
    assert start_at.isoformat() <= found["first_send_at"].replace("Z", "+00:00")
    assert found["first_send_at"] == forecast["first_send_at"] < found["last_send_at"]
    assert (found["segments"], found["cost"]) == (preview["segments"], preview["cost"])
    assert found["samples"][0]["text"].startswith("Hi Ada0")
    rules = {one["rule"]: one for one in found["rules"]}
    assert rules["campaign_daily_limit"]["detail"].endswith("at most 2 messages a day.")
    assert [rule for rule, one in rules.items() if one["is_binding"]] == [forecast["binding_rule"]]
    assert {"opted_out", "outside_schedule", "line_daily_limit", "previously_contacted"} <= set(
        rules
    )


async def test_check_shows_why_the_start_would_be_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(
        session, audience={"contact_ids": []}, bodies=("Good day — sir",), start_at=NOW
    )

    found = await get_launch_check(client, campaign)
    refused = await client.post(f"/v1/campaigns/{campaign.id}/start")

    assert found["can_start"] is False
    assert [one["pointer"] for one in found["problems"]] == ["/schedule/start_at"]
    assert found["problems"][0]["detail"] == refused.json()["errors"][0]["detail"]


async def test_every_warning_is_listed(client: httpx.AsyncClient, session: AsyncSession) -> None:
    campaign = await create_draft(session, bodies=("Good day {{ first_name }} ☺",))

    found = await get_launch_check(client, campaign)

    codes = {one["code"] for one in found["warnings"]}
    assert {"sender_not_named", "no_way_to_stop", "missing_value", "ucs_2"} <= codes


async def test_a_started_campaign_cannot_start_again(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(session)
    await client.post(f"/v1/campaigns/{campaign.id}/start")

    found = await get_launch_check(client, campaign)

    assert found["can_start"] is False
    assert [one["code"] for one in found["problems"]] == ["invalid_transition"]


@pytest.mark.parametrize("campaign_id", [UNKNOWN_ID, "autumn"])
async def test_an_unknown_campaign_is_not_found(
    client: httpx.AsyncClient, campaign_id: str
) -> None:
    response = await client.get(f"/v1/campaigns/{campaign_id}/launch-check")

    assert response.status_code == 404
