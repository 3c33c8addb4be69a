"""Tests of template versions: approval by another user, and statistics by version."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]
Template = dict[str, Any]


@pytest_asyncio.fixture
async def author(key_with: KeyWith) -> dict[str, str]:
    """Return the headers of the author's API key, which also has the scope to approve."""
    return await key_with(Scope.ADMIN)


@pytest_asyncio.fixture
async def template(client: httpx.AsyncClient, author: dict[str, str]) -> Template:
    body = {"name": "Greeting", "body": "Hi {{ first_name }}", "category": " cold "}
    response = await client.post("/v1/templates", json=body, headers=author)
    assert response.status_code == 201, response.text
    made: Template = response.json()
    return made


def template_path(template: Template, act: str = "") -> str:
    return f"/v1/templates/{template['id']}" + (f"/{act}" if act else "")


async def test_approved_version_shows_author_and_approver(
    client: httpx.AsyncClient, author: dict[str, str], template: Template
) -> None:
    submitted = await client.post(template_path(template, "submit"), headers=author)
    approved = await client.post(template_path(template, "approve"), json={"note": "Good."})

    assert template["category"] == "cold"
    assert submitted.json()["status"] == "submitted"
    [version] = approved.json()["versions"]
    assert approved.json()["status"] == version["status"] == "approved"
    assert (version["author_name"], version["note"]) == ("scoped", "Good.")
    assert version["decided_by"] not in {None, "scoped"}
    entries = (await client.get("/v1/audit-log", params={"subject": template["id"]})).json()["data"]
    assert [one["action"] for one in entries][:2] == ["approve_template", "submit_template"]


async def test_the_author_cannot_approve(
    client: httpx.AsyncClient, author: dict[str, str], template: Template
) -> None:
    before = await client.post(template_path(template, "approve"), headers=author)
    await client.post(template_path(template, "submit"), headers=author)
    after = await client.post(template_path(template, "approve"), headers=author)

    for response in (before, after):
        assert response.status_code == 403
        assert response.json()["code"] == "own_approval"
    assert (await client.get(template_path(template))).json()["status"] == "submitted"


async def test_change_of_the_body_makes_a_draft_and_keeps_the_old_version(
    client: httpx.AsyncClient, author: dict[str, str], template: Template
) -> None:
    await client.post(template_path(template, "submit"), headers=author)
    await client.post(template_path(template, "approve"))

    renamed = await client.patch(template_path(template), json={"name": "Hello", "category": None})
    same = await client.patch(template_path(template), json={"body": template["body"]})
    changed = await client.patch(template_path(template), json={"body": "Hello"}, headers=author)

    assert renamed.json()["category"] is None
    assert [one.json()["version"] for one in (renamed, same, changed)] == [1, 1, 2]
    assert [one.json()["status"] for one in (renamed, same, changed)] == [
        "approved",
        "approved",
        "draft",
    ]
    versions = changed.json()["versions"]
    assert [(one["version"], one["body"], one["status"]) for one in versions] == [
        (1, template["body"], "approved"),
        (2, "Hello", "draft"),
    ]


async def test_rejection_needs_a_note_and_the_template_can_be_submitted_again(
    client: httpx.AsyncClient, template: Template
) -> None:
    await client.post(template_path(template, "submit"))
    without = [
        await client.post(template_path(template, "reject")),
        await client.post(template_path(template, "reject"), json={}),
        await client.post(template_path(template, "reject"), json={"note": " "}),
    ]
    rejected = await client.post(template_path(template, "reject"), json={"note": "Too long."})
    again = await client.post(template_path(template, "submit"))

    assert [one.status_code for one in without] == [422, 422, 422]
    assert (rejected.json()["status"], rejected.json()["note"]) == ("rejected", "Too long.")
    assert (again.json()["status"], again.json()["note"]) == ("submitted", None)


@pytest.mark.parametrize("act", ["approve", "reject"])
async def test_only_a_submitted_version_can_be_decided(
    client: httpx.AsyncClient, template: Template, act: str
) -> None:
    response = await client.post(template_path(template, act), json={"note": "Now."})

    assert response.status_code == 409
    assert response.json()["code"] == "template_not_submitted"
    assert "submit" in response.json()["detail"]


async def test_approval_of_an_older_version_is_refused(
    client: httpx.AsyncClient, author: dict[str, str], template: Template
) -> None:
    await client.post(template_path(template, "submit"), headers=author)
    await client.patch(template_path(template), json={"body": "Other"}, headers=author)
    await client.post(template_path(template, "submit"), headers=author)

    response = await client.post(template_path(template, "approve"), json={"version": 1})

    assert response.status_code == 409
    assert (response.json()["code"], response.json()["version"]) == ("template_changed", 2)


async def test_repeated_decisions_change_nothing(
    client: httpx.AsyncClient, author: dict[str, str], template: Template
) -> None:
    await client.post(template_path(template, "submit"), headers=author)
    first = await client.post(template_path(template, "approve"))

    second = await client.post(template_path(template, "approve"))
    submitted = await client.post(template_path(template, "submit"), headers=author)

    assert first.json() == second.json() == submitted.json()


@pytest.mark.parametrize("act", ["submit", "approve", "reject"])
async def test_an_unknown_template_is_not_found(client: httpx.AsyncClient, act: str) -> None:
    response = await client.post(f"/v1/templates/{UNKNOWN_ID}/{act}", json={"note": "x"})

    assert response.status_code == 404


@pytest.mark.parametrize("act", ["approve", "reject"])
async def test_decisions_need_the_scope_admin(
    client: httpx.AsyncClient, key_with: KeyWith, template: Template, act: str
) -> None:
    header = await key_with(Scope.CAMPAIGNS_WRITE)

    response = await client.post(template_path(template, act), json={"note": "x"}, headers=header)

    assert response.status_code == 403
    assert response.json()["required_scope"] == "admin"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("category", "x" * 41, "string_too_long"),
        ("category", 7, "string_type"),
        ("category", "a\nb", "control_character"),
    ],
)
async def test_invalid_category_is_refused(
    client: httpx.AsyncClient, template: Template, field: str, value: object, code: str
) -> None:
    response = await client.patch(template_path(template), json={field: value})

    assert response.status_code == 422
    assert [(one["pointer"], one["code"]) for one in response.json()["errors"]] == [
        (f"/{field}", code)
    ]


async def campaign_body(session: AsyncSession, **content: Any) -> dict[str, Any]:
    line = await make_line(session)
    contact = await make_contact(session)
    await session.commit()
    return {
        "name": "Autumn check",
        "line_id": str(line.id),
        "audience": {"contact_ids": [str(contact.id)]},
        "variants": [{"name": "A", "weight": 100, **content}],
    }


async def test_a_campaign_keeps_the_version_that_it_copied(
    client: httpx.AsyncClient, session: AsyncSession, template: Template
) -> None:
    await client.patch(template_path(template), json={"body": "Second"})
    source = {"template_id": template["id"], "template_version": 1}
    body = await campaign_body(session, **source)
    body["follow_ups"] = [{"after_hours": 24, "template_id": template["id"]}]

    made = (await client.post("/v1/campaigns", json=body)).json()
    path = f"/v1/campaigns/{made['id']}"
    sent_back = await client.patch(
        path, json={"variants": made["variants"], "follow_ups": made["follow_ups"]}
    )
    clone = (await client.post(f"{path}/clone")).json()
    other = await client.patch(path, json={"variants": [{**made["variants"][0], "body": "Own"}]})

    assert made["variants"][0] == {
        "name": "A",
        "weight": 100,
        "for_known": False,
        "body": template["body"],
        **source,
    }
    assert made["follow_ups"][0]["template_version"] == 2
    assert sent_back.json()["variants"] == clone["variants"] == made["variants"]
    assert sent_back.json()["follow_ups"] == clone["follow_ups"] == made["follow_ups"]
    assert other.json()["variants"][0]["template_id"] is None


async def test_unknown_version_is_reported(
    client: httpx.AsyncClient, session: AsyncSession, template: Template
) -> None:
    body = await campaign_body(session, template_id=template["id"], template_version=9)

    response = await client.post("/v1/campaigns", json=body)

    assert [(one["pointer"], one["code"]) for one in response.json()["errors"]] == [
        ("/variants/0/template_version", "unknown_version")
    ]


async def test_statistics_by_version_equal_those_of_the_campaigns(
    client: httpx.AsyncClient, session: AsyncSession, template: Template
) -> None:
    line = await make_line(session)
    follow_up = {
        "after_hours": 24,
        "body": "Second",
        "template_id": template["id"],
        "template_version": 2,
    }
    campaign = await make_campaign(session, line=line, bodies=("A", "B"), follow_ups=[follow_up])
    await session.execute(
        text(
            "UPDATE campaign_variant SET template_id = :id, template_version = 1 WHERE position=1"
        ),
        {"id": template["id"]},
    )
    people: list[tuple[int, int, dict[str, Any]]] = [
        (0, 0, {"status": "delivered"}),
        (1, 0, {"status": "delivered", "replied_at": NOW}),
        (1, 0, {"status": "sent", "replied_at": NOW, "opted_out_at": NOW}),
        (1, 0, {"status": "pending"}),
        (0, 1, {"status": "failed"}),
    ]
    for place, (variant, step, values) in enumerate(people):
        contact = await make_contact(session, phone=number(place))
        await make_member(
            session, campaign=campaign, contact=contact, variant=variant, step=step, **values
        )
    await session.commit()

    found = (await client.get(template_path(template, "stats"))).json()

    stats = (await client.get(f"/v1/campaigns/{campaign.id}/stats")).json()
    same = {key: value for key, value in stats["variants"][1].items() if key in found}
    first, second = found["versions"]
    assert {key: first[key] for key in same} == same
    assert (first["version"], first["recipients"], first["sent"], first["replied"]) == (1, 3, 2, 2)
    assert (second["version"], second["recipients"], second["failed"]) == (2, 1, 1)
    assert (found["campaigns"], found["recipients"], found["opted_out"]) == (1, 4, 1)


async def test_a_template_without_campaigns_has_no_rates(
    client: httpx.AsyncClient, template: Template
) -> None:
    found = (await client.get(template_path(template, "stats"))).json()

    assert (found["campaigns"], found["recipients"], found["versions"]) == (0, 0, [])
    assert found["response_rate"] is None


async def test_body_changed_by_an_older_release_is_a_draft(
    client: httpx.AsyncClient, session: AsyncSession, author: dict[str, str], template: Template
) -> None:
    await client.post(template_path(template, "submit"), headers=author)
    await client.post(template_path(template, "approve"))
    await session.execute(text("UPDATE message_template SET body = 'Changed'"))
    await session.commit()

    found = (await client.get(template_path(template))).json()
    body = await campaign_body(session, template_id=template["id"])
    made = (await client.post("/v1/campaigns", json=body)).json()
    submitted = (await client.post(template_path(template, "submit"))).json()

    assert (found["version"], found["status"]) == (2, "draft")
    assert made["variants"][0]["template_version"] is None
    assert (submitted["version"], submitted["status"]) == (2, "submitted")
