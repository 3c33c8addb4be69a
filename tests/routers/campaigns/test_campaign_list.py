"""Tests of the list of campaigns: filters, order, archive, and counts equal to the statistics."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.factories import make_campaign, make_contact, make_line, make_member, number


async def list_names(client: httpx.AsyncClient, **wanted: Any) -> list[str]:
    response = await client.get("/v1/campaigns", params=wanted)
    assert response.status_code == 200, response.text
    return [one["name"] for one in response.json()["data"]]


async def test_list_applies_the_requested_filters_and_order(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    other = await make_line(session, phone_number_id="PN2", line_number="+16175550101")
    for place, name in enumerate(("Étage", "Basement 50%", "Attic")):
        await make_campaign(
            session,
            line=other if name == "Attic" else line,
            name=name,
            status="running" if name == "Attic" else "draft",
            now=NOW + timedelta(days=place),
        )

    assert await list_names(client) == ["Attic", "Basement 50%", "Étage"]
    assert await list_names(client, sort="created_at") == ["Étage", "Basement 50%", "Attic"]
    by_name = await list_names(client, sort="name")
    assert by_name[:2] == ["Attic", "Basement 50%"]
    assert await list_names(client, sort="-name") == by_name[::-1]
    assert await list_names(client, q="etage") == ["Étage"]
    assert await list_names(client, q="%") == ["Basement 50%"]
    assert await list_names(client, q="_") == []
    assert await list_names(client, line_id=str(other.id)) == ["Attic"]
    assert await list_names(client, line_id=UNKNOWN_ID) == []
    assert await list_names(client, status="draft") == ["Basement 50%", "Étage"]
    day = f"{NOW + timedelta(days=1):%Y-%m-%d}"
    assert await list_names(client, created_after=day, created_before=f"{day}T23:00:00Z") == [
        "Basement 50%"
    ]
    first = (await client.get("/v1/campaigns", params={"sort": "name", "limit": 2})).json()
    rest = await list_names(client, sort="name", cursor=first["next_cursor"])
    assert [one["name"] for one in first["data"]] + rest == by_name


async def test_counts_agree_with_the_statistics(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status="running")
    await make_campaign(session, line=line, status="draft")
    states = ["pending", "sent", "delivered", "delivered", "failed", "skipped", "review"]
    for place, status in enumerate(states):
        contact = await make_contact(session, phone=number(place))
        await make_member(
            session,
            campaign=campaign,
            contact=contact,
            status=status,
            replied_at=NOW if status == "delivered" else None,
            opted_out_at=NOW if place == 3 else None,
        )
    follow_up = await make_contact(session, phone=number(50))
    await make_member(session, campaign=campaign, contact=follow_up, status="pending", step=1)
    await session.commit()

    draft, running = (await client.get("/v1/campaigns")).json()["data"]
    stats = (await client.get(f"/v1/campaigns/{campaign.id}/stats")).json()

    assert set(draft["counts"].values()) == {0}
    assert running["counts"] == {
        "recipients": 7,
        "pending": 1,
        "sent": 3,
        "delivered": 2,
        "failed": 1,
        "replied": 2,
        "opted_out": 1,
    }
    assert running["counts"]["recipients"] == stats["recipients_total"]
    assert running["counts"]["pending"] == stats["by_status"]["pending"]
    assert running["counts"]["replied"] == stats["replied"]
    assert running["counts"]["opted_out"] == stats["opted_out"]


@pytest.mark.parametrize("status", ["draft", "scheduled", "running", "paused", "completed"])
async def test_name_and_archive_can_change_in_every_status(
    client: httpx.AsyncClient, session: AsyncSession, status: str
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status=status, name="Autumn")
    path = f"/v1/campaigns/{campaign.id}"

    changed = await client.patch(path, json={"name": "Autumn check", "archived": True})
    again = await client.patch(path, json={"archived": True})

    assert changed.status_code == 200, changed.text
    assert (changed.json()["name"], changed.json()["archived"]) == ("Autumn check", True)
    assert changed.json()["status"] == status
    assert again.json()["archived"] is True
    assert await list_names(client) == []
    assert await list_names(client, archived=True) == ["Autumn check"]
    back = await client.patch(path, json={"archived": False})
    assert back.json()["archived"] is False
    assert await list_names(client) == ["Autumn check"]


async def test_other_fields_of_a_started_campaign_cannot_change(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await make_campaign(session, line=await make_line(session), status="running")
    path = f"/v1/campaigns/{campaign.id}"
    before = (await client.get(path)).json()

    refused = await client.patch(path, json={"name": "New", "pacing": {"daily_limit": 5}})
    null = await client.patch(path, json={"archived": None})

    assert (refused.status_code, refused.json()["code"]) == (409, "campaign_not_editable")
    assert null.status_code == 422
    assert (await client.get(path)).json() == before
