"""Tests of the routes to review recipients: authorisation, input and responses."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.identity.api_keys.models import Scope

UNKNOWN_REVIEW = "/v1/campaigns/00000000-0000-7000-8000-000000000000/recipients/review"
UNKNOWN_CONTACT = "00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def create_review(session: AsyncSession, **values: Any) -> tuple[Campaign, list[str]]:
    campaign = await make_campaign(session, line=await make_line(session), **values)
    contacts = [await make_contact(session, phone=number(position)) for position in range(3)]
    for contact in contacts:
        await make_member(session, campaign=campaign, contact=contact, status="review")
    await session.commit()
    return campaign, [str(contact.id) for contact in contacts]


async def test_missing_key_is_refused(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]

    assert (await client.post(UNKNOWN_REVIEW, json={})).status_code == 401


async def test_missing_scope_is_refused(client: httpx.AsyncClient, key_with: KeyWith) -> None:
    others = [other for other in Scope if other not in {Scope.CAMPAIGNS_SEND, Scope.ADMIN}]

    response = await client.post(UNKNOWN_REVIEW, json={}, headers=await key_with(*others))

    assert response.status_code == 403
    assert response.json()["required_scope"] == Scope.CAMPAIGNS_SEND


async def test_recipients_in_review_are_listed_and_decided(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign, people = await create_review(session)
    path = f"/v1/campaigns/{campaign.id}/recipients"

    approved = await client.post(
        f"{path}/review", json={"decision": "approve", "contact_ids": [people[0], UNKNOWN_CONTACT]}
    )
    waiting = (await client.get(path, params={"status": "review"})).json()["data"]
    rejected = await client.post(f"{path}/review", json={"decision": "reject", "all": True})
    skipped = (await client.get(path, params={"status": "skipped"})).json()["data"]

    assert approved.json() == {"approved": 1, "rejected": 0, "unchanged": 1, "left": 2}
    assert sorted(row["contact_id"] for row in waiting) == sorted(people[1:])
    assert rejected.json() == {"approved": 0, "rejected": 2, "unchanged": 0, "left": 0}
    assert [row["skip_reason"] for row in skipped] == ["rejected", "rejected"]


@pytest.mark.parametrize("status", ["draft", "completed"])
async def test_campaign_that_cannot_be_reviewed_gives_the_reason(
    client: httpx.AsyncClient, session: AsyncSession, status: str
) -> None:
    campaign, _ = await create_review(session, status=status)

    response = await client.post(
        f"/v1/campaigns/{campaign.id}/recipients/review", json={"decision": "approve", "all": True}
    )

    assert response.status_code == 409
    assert response.json()["code"] == "not_in_review"
    assert status in response.json()["detail"]


async def test_unknown_campaign_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.post(UNKNOWN_REVIEW, json={"decision": "approve", "all": True})

    assert response.status_code == 404
    assert response.json()["code"] == "campaign_not_found"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"decision": "approve"}, ("/", "whom")),
        ({"decision": "approve", "all": True, "contact_ids": [UNKNOWN_CONTACT]}, ("/", "whom")),
        ({"decision": "approve", "all": False}, ("/all", "literal_error")),
        ({"decision": "approve", "contact_ids": []}, ("/contact_ids", "too_short")),
        ({"decision": "approve", "contact_ids": ["x"]}, ("/contact_ids/0", "uuid_parsing")),
        ({"decision": "maybe", "all": True}, ("/decision", "literal_error")),
        ({"all": True}, ("/decision", "missing")),
    ],
)
async def test_invalid_decision_is_reported(
    client: httpx.AsyncClient,
    session: AsyncSession,
    body: dict[str, Any],
    fault: tuple[str, str],
) -> None:
    campaign, _ = await create_review(session)

    response = await client.post(f"/v1/campaigns/{campaign.id}/recipients/review", json=body)

    assert response.status_code == 422
    faults = [(one["pointer"], one["code"]) for one in response.json()["errors"]]
    assert faults == [fault]
