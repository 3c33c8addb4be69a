"""Tests of the list of recipients: names, messages, and filters alone and combined."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.messaging.models.timeline import Activity

PEOPLE: Mapping[str, dict[str, Any]] = {
    "Ada Rossi": {"status": "delivered", "replied_at": NOW, "opted_out_at": NOW},
    "Éva Rossi": {"status": "delivered", "replied_at": NOW},
    "Bo Stone": {"status": "failed", "error_code": "provider_refused"},
    "Cy Stone": {"status": "skipped", "skip_reason": "opted_out"},
    "Di Stone": {"status": "unknown"},
    "Flo Hill": {"status": "unknown"},
    "Gus Hill": {"status": "pending", "variant": 1},
}


@dataclass(frozen=True)
class Listing:
    """A campaign with the recipients ``PEOPLE``; the attempt to Di waits for a user (parked)."""

    client: httpx.AsyncClient
    path: str
    message_id: UUID

    async def names(self, **wanted: Any) -> set[str]:
        response = await self.client.get(self.path, params=wanted)
        assert response.status_code == 200, response.text
        rows = await self.client.get(self.path, params=wanted, headers={"Accept": "text/csv"})
        found = [one["name"] for one in response.json()["data"]]
        assert [row["name"] for row in csv.DictReader(io.StringIO(rows.text))] == found
        return set(found)


@pytest_asyncio.fixture
async def listing(client: httpx.AsyncClient, session: AsyncSession) -> Listing:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, bodies=("A", "B"))
    message = Activity(
        kind="message",
        direction="outgoing",
        origin="campaign",
        status="delivered",
        body="=Hi Ada",
        occurred_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(message)
    await session.flush()
    for place, (name, values) in enumerate(PEOPLE.items()):
        first, last = name.split()
        contact = await make_contact(session, phone=number(place), first_name=first, last_name=last)
        own: dict[str, Any] = {"activity_id": message.id} if first == "Ada" else {}
        member = await make_member(session, campaign=campaign, contact=contact, **values, **own)
        if first in {"Di", "Flo"}:
            await session.execute(
                text("""INSERT INTO send_attempt (id, membership_id, campaign_id, line_id,
                    activity_id, phone, body, status, created_at, updated_at)
                    VALUES (:id, :id, :campaign_id, :line_id, :id, :phone, 'Hi', :status,
                            :now, :now)"""),
                {
                    "id": member.id,
                    "campaign_id": campaign.id,
                    "line_id": line.id,
                    "phone": contact.phone,
                    "status": "parked" if first == "Di" else "unknown",
                    "now": NOW,
                },
            )
    await make_member(
        session, campaign=campaign, contact=await make_contact(session, phone=number(50)), step=1
    )
    await session.commit()
    return Listing(client, f"/v1/campaigns/{campaign.id}/recipients", message.id)


async def test_recipient_has_its_name_and_its_message(listing: Listing) -> None:
    response = await listing.client.get(listing.path, params={"opted_out": "true"})

    [ada] = response.json()["data"]
    assert ada["name"] == "Ada Rossi"
    assert ada["body"] == "=Hi Ada"
    assert ada["message_id"] == str(listing.message_id)
    assert ada["step"] == 0
    assert ada["opted_out_at"] == ada["replied_at"] is not None
    rows = await listing.client.get(
        listing.path, params={"opted_out": "true"}, headers={"Accept": "text/csv"}
    )
    [line] = csv.DictReader(io.StringIO(rows.text))
    assert line["body"] == "'=Hi Ada"
    assert line["message_id"] == str(listing.message_id)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"replied": True}, {"Ada Rossi", "Éva Rossi"}),
        ({"replied": False}, set(PEOPLE) - {"Ada Rossi", "Éva Rossi"}),
        ({"opted_out": True}, {"Ada Rossi"}),
        ({"opted_out": False}, set(PEOPLE) - {"Ada Rossi"}),
        ({"replied": True, "opted_out": False}, {"Éva Rossi"}),
        ({"parked": True}, {"Di Stone"}),
        ({"parked": False}, set(PEOPLE) - {"Di Stone"}),
        ({"parked": False, "status": "unknown"}, {"Flo Hill"}),
        ({"error_code": "provider_refused"}, {"Bo Stone"}),
        ({"error_code": "another"}, set()),
        ({"skip_reason": "opted_out"}, {"Cy Stone"}),
        ({"skip_reason": "landline"}, set()),
        ({"q": "rossi"}, {"Ada Rossi", "Éva Rossi"}),
        ({"q": "EVA"}, {"Éva Rossi"}),
        ({"q": "stone", "status": "failed"}, {"Bo Stone"}),
        ({"q": "(617) 555-0003"}, {"Cy Stone"}),
        ({"q": "rossi", "opted_out": True, "status": "delivered"}, {"Ada Rossi"}),
        ({"q": "hill", "variant": "V1"}, {"Gus Hill"}),
        ({"q": "a_a"}, set()),
        ({"q": "   "}, set(PEOPLE)),
    ],
)
async def test_filters_select_recipients(
    listing: Listing, wanted: dict[str, Any], found: set[str]
) -> None:
    assert await listing.names(**wanted) == found


async def test_pages_of_a_search_hold_each_recipient_once(listing: Listing) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = await listing.client.get(
            listing.path, params={"q": "stone", "limit": 2, **cursor}
        )
        page = response.json()
        seen += [one["name"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert sorted(seen) == ["Bo Stone", "Cy Stone", "Di Stone"]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"q": "%"}, "unsearchable"),
        ({"q": "x" * 201}, "validation_failed"),
        ({"skip_reason": "because"}, "validation_failed"),
        ({"replied": "perhaps"}, "validation_failed"),
        ({"error_code": "x" * 201}, "validation_failed"),
    ],
)
async def test_invalid_filter_is_refused(
    listing: Listing, wanted: dict[str, str], code: str
) -> None:
    response = await listing.client.get(listing.path, params=wanted)

    assert response.status_code == 422
    assert response.json()["code"] == code
