"""Approval of campaigns: a user who is not the author approves, and a change ends the approval."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import UNKNOWN_ID
from tests.factories import make_contact, make_line, number

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]
BODY = "Hi {{ first_name }}, Main line here. Reply STOP to opt out."


@pytest_asyncio.fixture
async def author(key_with: KeyWith) -> dict[str, str]:
    """Return the headers of the author's API key, which also has the scope to approve."""
    return await key_with(Scope.ADMIN)


@pytest_asyncio.fixture
async def content(client: httpx.AsyncClient, session: AsyncSession) -> dict[str, Any]:
    """Require approval in the settings; return the request body of a campaign."""
    line = await make_line(session)
    contact = await make_contact(session, phone=number(1))
    await session.commit()
    changed = await client.patch("/v1/settings", json={"require_approval": True})
    assert changed.json()["require_approval"] is True
    return {
        "name": "Autumn check",
        "line_id": str(line.id),
        "audience": {"contact_ids": [str(contact.id)]},
        "variants": [{"name": "A", "weight": 100, "body": BODY}],
    }


@pytest_asyncio.fixture
async def path(client: httpx.AsyncClient, author: dict[str, str], content: dict[str, Any]) -> str:
    made = await client.post("/v1/campaigns", json=content, headers=author)
    assert made.status_code == 201, made.text
    return f"/v1/campaigns/{made.json()['id']}"


def status_and_code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_campaign_starts_after_another_person_approves_it(
    client: httpx.AsyncClient, author: dict[str, str], path: str
) -> None:
    refused = await client.post(f"{path}/start", headers=author)
    check = (await client.get(f"{path}/launch-check")).json()
    approved = await client.post(f"{path}/approve", json={"note": "Fine."})
    ready = (await client.get(f"{path}/launch-check")).json()
    started = await client.post(f"{path}/start", headers=author)

    assert status_and_code(refused) == (409, "approval_needed")
    assert "the variant “A”" in refused.json()["detail"]
    assert f"{path}/approve" in refused.json()["detail"]
    assert (check["can_start"], [one["code"] for one in check["problems"]]) == (
        False,
        ["approval_needed"],
    )
    assert approved.status_code == 200
    assert approved.json()["approved_at"] is not None
    assert approved.json()["approved_by"] not in {None, "scoped"}
    assert ready["can_start"] is True
    assert started.status_code == 200
    subject = path.rsplit("/", 1)[1]
    entries = (await client.get("/v1/audit-log", params={"subject": subject})).json()["data"]
    [entry] = [one for one in entries if one["action"] == "approve_campaign"]
    assert entry["detail"] == {"note": "Fine."}


async def test_the_author_cannot_approve(
    client: httpx.AsyncClient, author: dict[str, str], path: str
) -> None:
    response = await client.post(f"{path}/approve", headers=author)

    assert status_and_code(response) == (403, "own_approval")


async def test_user_who_changed_or_copied_a_campaign_cannot_approve_it(
    client: httpx.AsyncClient, key_with: KeyWith, author: dict[str, str], path: str
) -> None:
    third = await key_with(Scope.ADMIN)
    await client.patch(path, json={"pacing": {"daily_limit": 7}}, headers=third)
    clone = (await client.post(f"{path}/clone")).json()

    by_editor = await client.post(f"{path}/approve", headers=third)
    by_first = await client.post(f"{path}/approve", headers=author)
    of_clone = await client.post(f"/v1/campaigns/{clone['id']}/approve", headers=author)
    by_other = await client.post(f"{path}/approve")

    assert (
        status_and_code(by_editor)
        == status_and_code(by_first)
        == status_and_code(of_clone)
        == (403, "own_approval")
    )
    assert by_other.status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"variants": [{"name": "A", "weight": 100, "body": f"{BODY} Bye."}]},
        {"pacing": {"daily_limit": 7}},
        {"name": "Winter check"},
    ],
)
async def test_a_change_removes_the_approval(
    client: httpx.AsyncClient, author: dict[str, str], path: str, change: dict[str, Any]
) -> None:
    await client.post(f"{path}/approve")

    changed = await client.patch(path, json=change, headers=author)
    refused = await client.post(f"{path}/start", headers=author)

    assert changed.json()["approved_at"] is changed.json()["approved_by"] is None
    assert status_and_code(refused) == (409, "approval_needed")


async def test_archiving_keeps_the_approval(
    client: httpx.AsyncClient, author: dict[str, str], path: str
) -> None:
    approved = (await client.post(f"{path}/approve")).json()

    changed = await client.patch(path, json={"archived": True}, headers=author)

    assert changed.json()["approved_at"] == approved["approved_at"]


async def test_campaign_of_approved_templates_needs_no_approval(
    client: httpx.AsyncClient, author: dict[str, str], content: dict[str, Any]
) -> None:
    template = (
        await client.post("/v1/templates", json={"name": "T", "body": BODY}, headers=author)
    ).json()
    content["variants"] = [{"name": "A", "weight": 100, "template_id": template["id"]}]
    content["follow_ups"] = [{"after_hours": 24, "template_id": template["id"]}]
    made = (await client.post("/v1/campaigns", json=content, headers=author)).json()
    start = f"/v1/campaigns/{made['id']}/start"

    as_draft = await client.post(start, headers=author)
    await client.post(f"/v1/templates/{template['id']}/submit", headers=author)
    as_submitted = await client.post(start, headers=author)
    await client.post(f"/v1/templates/{template['id']}/approve")
    await client.patch(
        f"/v1/templates/{template['id']}", json={"body": f"{BODY} New."}, headers=author
    )
    as_approved = await client.post(start, headers=author)

    assert status_and_code(as_draft) == status_and_code(as_submitted) == (409, "approval_needed")
    assert "follow-up 1" in as_draft.json()["detail"]
    assert as_approved.status_code == 200


async def test_approval_is_not_required_without_the_setting(
    client: httpx.AsyncClient, author: dict[str, str], path: str
) -> None:
    changed = await client.patch("/v1/settings", json={"require_approval": None})

    started = await client.post(f"{path}/start", headers=author)

    assert changed.json()["require_approval"] is False
    assert started.status_code == 200
    entries = (await client.get("/v1/audit-log", params={"subject": "settings"})).json()["data"]
    assert entries[0]["detail"]["require_approval"] == {"from": True, "to": False}


async def test_only_a_draft_can_be_approved(client: httpx.AsyncClient, path: str) -> None:
    await client.post(f"{path}/approve")
    again = await client.post(f"{path}/approve")
    await client.post(f"{path}/start")

    after = await client.post(f"{path}/approve")

    assert again.status_code == 200
    assert status_and_code(after) == (409, "campaign_not_editable")


async def test_an_unknown_campaign_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"/v1/campaigns/{UNKNOWN_ID}/approve")).status_code == 404


@pytest.mark.parametrize("value", ["yes", 1, []])
async def test_setting_that_is_not_a_boolean_is_refused(
    client: httpx.AsyncClient, value: object
) -> None:
    response = await client.patch("/v1/settings", json={"require_approval": value})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/require_approval"
