"""Tests of the kinds of campaigns; a mixed campaign has a separate variant for known people.

A known person has exchanged messages or calls with the company before.
"""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import store_audience
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform.database import UnitOfWork

NEW = {"name": "New", "weight": 60, "body": "Hi, Main line here. Reply STOP to opt out."}
OTHER = {**NEW, "name": "Other", "weight": 40}
KNOWN = {
    "name": "Known",
    "weight": 0,
    "for_known": True,
    "body": "Hi again, Main line here. Reply STOP to opt out.",
}
IN_TOUCH: dict[int, dict[str, Any]] = {
    0: {"kind": "message", "direction": "outgoing", "origin": "manual", "status": "delivered"},
    1: {"kind": "message", "direction": "incoming", "origin": "provider", "status": "received"},
    2: {"kind": "call", "direction": "outgoing", "origin": "provider", "status": "completed"},
}


@pytest_asyncio.fixture
async def content(session: AsyncSession) -> dict[str, Any]:
    """Return the request body of a mixed campaign to 30 contacts.

    Three contacts had messages or calls with the company. One contact got an earlier campaign.
    """
    line = await make_line(session)
    contacts = [await make_contact(session, phone=number(place)) for place in range(30)]
    for place, values in IN_TOUCH.items():
        session.add(
            Activity(
                contact_id=contacts[place].id,
                phone=number(place),
                occurred_at=NOW,
                created_at=NOW,
                updated_at=NOW,
                **values,
            )
        )
    earlier = await make_campaign(session, line=line, status="completed")
    await make_member(
        session, campaign=earlier, contact=contacts[3], status="delivered", sent_at=NOW
    )
    await session.commit()
    return {
        "name": "Spring check",
        "line_id": str(line.id),
        "kind": "mixed",
        "audience": {"contact_ids": [str(one.id) for one in contacts]},
        "variants": [NEW, KNOWN, OTHER],
    }


async def test_people_who_were_in_touch_get_the_variant_for_known_people(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: Callable[[], UnitOfWork],
    content: dict[str, Any],
) -> None:
    made = (await client.post("/v1/campaigns", json=content)).json()
    path = f"/v1/campaigns/{made['id']}"
    preview = (await client.post(f"{path}/preview")).json()
    assert (await client.post(f"{path}/start")).status_code == 200
    await store_audience(new_uow, await session.get_one(Campaign, made["id"]))

    rows = (await client.get(f"{path}/recipients", params={"limit": 100})).json()["data"]
    by_phone = {row["phone"]: row for row in rows}
    known = {row["phone"] for row in rows if row["variant"] == "Known"}
    explained = [
        (await client.get(f"{path}/recipients/{by_phone[number(n)]['contact_id']}/explain")).json()
        for n in (1, 9)
    ]

    assert made["kind"] == "mixed"
    assert known == {number(place) for place in range(4)}
    assert {row["variant"] for row in rows} == {"New", "Known", "Other"}
    assert {one["name"]: one["texts"] for one in preview["variants"]} == {
        name: sum(row["variant"] == name for row in rows) for name in ("New", "Known", "Other")
    }
    assert explained[0]["variant"] == "Known"
    assert explained[0]["variant_reason"].startswith("There was a message to or from the person")
    assert explained[1]["variant"] in {"New", "Other"}
    assert "no call" in explained[1]["variant_reason"]


async def test_other_kinds_need_no_variant_for_known_people(
    client: httpx.AsyncClient, content: dict[str, Any]
) -> None:
    kinds = []
    for kind in ("cold", "customer"):
        body = {**content, "kind": kind, "variants": [{**NEW, "weight": 100}]}
        kinds.append((await client.post("/v1/campaigns", json=body)).json()["kind"])
    del content["kind"]
    default = await client.post(
        "/v1/campaigns", json={**content, "variants": [{**NEW, "weight": 100}]}
    )

    assert kinds == ["cold", "customer"]
    assert default.json()["kind"] == "cold"


@pytest.mark.parametrize(
    ("kind", "variants", "pointer", "code"),
    [
        ("mixed", [{**NEW, "weight": 100}], "/variants", "known_variant"),
        ("mixed", [KNOWN, {**NEW, "weight": 100}, {**KNOWN, "name": "K2"}], "/variants", None),
        (
            "mixed",
            [{**KNOWN, "weight": 40}, NEW],
            "/variants/0/weight",
            "known_weight",
        ),
        ("mixed", [KNOWN], "/variants", "weights"),
        ("cold", [KNOWN, {**NEW, "weight": 100}], "/variants/0/for_known", "not_mixed"),
        ("customer", [{**NEW, "weight": 100}, KNOWN], "/variants/1/for_known", "not_mixed"),
        ("warm", [{**NEW, "weight": 100}], "/kind", None),
        (None, [{**NEW, "weight": 100}], "/kind", None),
    ],
)
async def test_invalid_kind_or_variant_is_reported(
    client: httpx.AsyncClient,
    content: dict[str, Any],
    *,
    kind: str,
    variants: list[dict[str, Any]],
    pointer: str,
    code: str | None,
) -> None:
    response = await client.post(
        "/v1/campaigns", json={**content, "kind": kind, "variants": variants}
    )

    assert response.status_code == 422, response.text
    [error] = response.json()["errors"]
    assert error["pointer"] == pointer
    assert code in {None, error["code"]}


async def test_kind_of_a_draft_changes_together_with_its_variants(
    client: httpx.AsyncClient, content: dict[str, Any]
) -> None:
    made = (await client.post("/v1/campaigns", json=content)).json()
    path = f"/v1/campaigns/{made['id']}"

    alone = await client.patch(path, json={"kind": "cold"})
    both = await client.patch(path, json={"kind": "cold", "variants": [{**NEW, "weight": 100}]})
    clone = await client.post(f"{path}/clone")

    assert alone.status_code == 422
    assert both.json()["kind"] == clone.json()["kind"] == "cold"


async def test_variant_for_known_people_must_name_the_sender(
    client: httpx.AsyncClient, content: dict[str, Any]
) -> None:
    content["variants"][1] = {**KNOWN, "body": "Hi again"}
    made = (await client.post("/v1/campaigns", json=content)).json()

    check = (await client.get(f"/v1/campaigns/{made['id']}/launch-check")).json()

    assert {(one["code"], one["variant"]) for one in check["warnings"]} == {
        ("sender_not_named", "Known"),
        ("no_way_to_stop", "Known"),
    }
