"""Tests of preview, test message and copy of a campaign: authorisation, input and responses."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_list, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.jobs import JobName

UNKNOWN_CAMPAIGN = "/v1/campaigns/00000000-0000-7000-8000-000000000000"
OWN_NUMBER = "+16175550101"
KeyWith = Callable[..., Awaitable[dict[str, str]]]

ROUTES = [
    ("/v1/campaigns/preview", Scope.CAMPAIGNS_READ),
    (f"{UNKNOWN_CAMPAIGN}/preview", Scope.CAMPAIGNS_READ),
    (f"{UNKNOWN_CAMPAIGN}/clone", Scope.CAMPAIGNS_WRITE),
    (f"{UNKNOWN_CAMPAIGN}/test-send", Scope.CAMPAIGNS_SEND),
]


@pytest.mark.parametrize(("path", "scope"), ROUTES)
async def test_route_needs_a_key(client: httpx.AsyncClient, path: str, scope: Scope) -> None:
    response = await client.post(path, json={}, headers={"Authorization": ""})

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert scope in Scope


@pytest.mark.parametrize(("path", "scope"), ROUTES)
async def test_route_needs_its_scope(
    client: httpx.AsyncClient, key_with: KeyWith, path: str, scope: Scope
) -> None:
    others = [other for other in Scope if other not in {scope, Scope.ADMIN}]

    refused = await client.post(path, json={}, headers=await key_with(*others))
    passed = await client.post(path, json={}, headers=await key_with(scope))

    assert refused.status_code == 403
    assert refused.json()["required_scope"] == scope
    assert passed.status_code not in {401, 403}


@pytest.mark.parametrize(
    ("path", "body"),
    [("preview", None), ("preview", {}), ("clone", None), ("test-send", {"to": OWN_NUMBER})],
)
async def test_unknown_campaign_is_not_found(
    client: httpx.AsyncClient, path: str, body: dict[str, str] | None
) -> None:
    response = await client.post(f"{UNKNOWN_CAMPAIGN}/{path}", json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "campaign_not_found"


async def create_draft(session: AsyncSession, *, body: str, **values: Any) -> Campaign:
    line = await make_line(session)
    people = [
        await make_contact(session, phone=number(1), first_name="Ada"),
        await make_contact(session, phone=number(2), first_name=None),
    ]
    homeowners = await make_list(session, contacts=people)
    audience = {"list_id": str(homeowners.id)}
    campaign = await make_campaign(
        session, line=line, status="draft", bodies=(body,), audience=audience, **values
    )
    await session.commit()
    return campaign


async def test_preview_has_the_documented_fields(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(
        session, body="Hi {{ first_name }}, it\u2019s Granite. Reply STOP to opt out."
    )

    response = await client.post(f"/v1/campaigns/{campaign.id}/preview")

    assert response.status_code == 200, response.text
    preview = response.json()
    sample = preview["samples"][0]
    lacking = preview["missing_values"]["contacts"][0]
    assert preview == {
        "samples": [
            {
                "contact_id": sample["contact_id"],
                "phone": number(1),
                "variant": "V0",
                "text": "Hi Ada, it\u2019s Granite. Reply STOP to opt out.",
                "encoding": "UCS-2",
                "segments": 1,
                "cost": "0.01",
                "skip_reason": None,
            }
        ],
        "variants": [
            {
                "name": "V0",
                "texts": 1,
                "encoding": "UCS-2",
                "texts_in_ucs_2": 1,
                "segments": 1,
                "segments_min": 1,
                "segments_max": 1,
                "cost": "0.01",
            }
        ],
        "encoding": "UCS-2",
        "segments": 1,
        "cost": "0.01",
        "forcing_characters": [
            {
                "character": "\u2019",
                "code_point": "U+2019",
                "variant": "V0",
                "source": "body",
                "position": 23,
                "texts": 1,
            }
        ],
        "missing_values": {
            "count": 1,
            "by_variable": {"first_name": 1},
            "contacts": [
                {
                    "contact_id": lacking["contact_id"],
                    "phone": number(2),
                    "variable": "first_name",
                }
            ],
        },
        "recipients": {
            "total": 2,
            "would_be_texted": 1,
            "review": 0,
            "held": 0,
            "skipped": {"missing_value": 1},
        },
        "warnings": [],
        "texts_rendered": 1,
        "is_partial": False,
    }


async def draft_body(session: AsyncSession, **changes: Any) -> dict[str, Any]:
    line = await make_line(session)
    contact = await make_contact(session)
    await session.commit()
    return {
        "name": "Autumn check",
        "line_id": str(line.id),
        "audience": {"contact_ids": [str(contact.id)]},
        "variants": [{"name": "A", "body": "Hi {{ first_name }}", "weight": 100}],
        **changes,
    }


async def test_preview_of_a_draft_stores_nothing(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    body = await draft_body(session, rules={"opt_out_footer": "Granite. STOP ends it"})

    response = await client.post("/v1/campaigns/preview", json=body)

    assert response.status_code == 200, response.text
    texts = [sample["text"] for sample in response.json()["samples"]]
    assert texts == ["Hi Ada\nGranite. STOP ends it"]
    assert response.json()["warnings"] == []
    assert await session.scalar(select(func.count()).select_from(Campaign)) == 0


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"nam": "x"}, "/nam", "unknown_field"),
        ({"limit": 0}, "/limit", "greater_than_equal"),
        ({"limit": 51}, "/limit", "less_than_equal"),
        ({"contact_ids": []}, "/contact_ids", "too_short"),
        ({"contact_ids": ["x"]}, "/contact_ids/0", "uuid_parsing"),
        ({"contact_ids": [str(UUID(int=1))]}, "/contact_ids/0", "unknown_contact"),
        ({"line_id": str(UUID(int=1))}, "/line_id", "unknown_line"),
        (
            {"audience": {"contact_ids": [str(UUID(int=1))]}},
            "/audience/contact_ids/0",
            "unknown_contact",
        ),
        (
            {"variants": [{"name": "A", "body": "{{ nope }}", "weight": 100}]},
            "/variants/0/body",
            "unknown_variable",
        ),
        (
            {"variants": [{"name": "A", "body": "x" * 10_000, "weight": 100}]},
            "/variants/0/body",
            "string_too_long",
        ),
    ],
)
async def test_invalid_field_of_a_draft_is_reported(
    client: httpx.AsyncClient,
    session: AsyncSession,
    changes: dict[str, Any],
    pointer: str,
    code: str,
) -> None:
    response = await client.post("/v1/campaigns/preview", json=await draft_body(session, **changes))

    assert response.status_code == 422
    faults = [(fault["pointer"], fault["code"]) for fault in response.json()["errors"]]
    assert faults == [(pointer, code)]


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("preview", {"limit": 0}, ("/limit", "greater_than_equal")),
        ("preview", {"sample": 3}, ("/sample", "unknown_field")),
        ("preview", {"contact_ids": [str(UUID(int=1))]}, ("/contact_ids/0", "unknown_contact")),
        ("clone", {"name": " "}, ("/name", "string_too_short")),
        ("clone", {"title": "x"}, ("/title", "unknown_field")),
        ("test-send", {}, ("/to", "missing")),
        ("test-send", {"to": "12"}, ("/to", "invalid_phone")),
        ("test-send", {"to": OWN_NUMBER, "variant": "Z"}, ("/variant", "unknown_variant")),
        ("test-send", {"to": OWN_NUMBER, "body": "x"}, ("/body", "unknown_field")),
    ],
)
async def test_invalid_field_is_reported(
    client: httpx.AsyncClient,
    session: AsyncSession,
    path: str,
    body: dict[str, Any],
    fault: tuple[str, str],
) -> None:
    campaign = await create_draft(session, body="Hi {{ first_name }}")

    response = await client.post(f"/v1/campaigns/{campaign.id}/{path}", json=body)

    assert response.status_code == 422
    assert [(one["pointer"], one["code"]) for one in response.json()["errors"]] == [fault]


async def test_test_message_goes_to_another_own_line(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    campaign = await create_draft(
        session, body="Hi {{ first_name }}", opt_out_footer="STOP ends it"
    )
    await make_line(session, phone_number_id="PNsandbox2", line_number=OWN_NUMBER)
    await session.commit()

    response = await client.post(
        f"/v1/campaigns/{campaign.id}/test-send", json={"to": "(617) 555-0101"}
    )

    assert response.status_code == 202, response.text
    message = response.json()
    assert message["phone"] == OWN_NUMBER
    assert message["origin"] == "test"
    assert message["status"] == "queued"
    assert message["body"] == "Hi Ada\nSTOP ends it"
    assert JobName.SEND_MESSAGES in queue.names


@pytest.mark.parametrize("to", [number(1), "+16175550100", "+16175550199"])
async def test_test_message_to_another_number_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, to: str
) -> None:
    campaign = await create_draft(session, body="Hi {{ first_name }}")

    response = await client.post(f"/v1/campaigns/{campaign.id}/test-send", json={"to": to})

    assert response.status_code == 422
    assert response.json()["code"] == "not_own_number"
    assert response.json()["errors"][0]["pointer"] == "/to"


async def test_test_message_is_refused_for_a_blocked_line_and_an_opt_out(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(session, body="Hi {{ first_name }}")
    own = await make_line(session, phone_number_id="PNsandbox2", line_number=OWN_NUMBER)
    blocked = await make_campaign(session, line=own, status="draft")
    own.status = "blocked"
    session.add(ContactFlag(phone=OWN_NUMBER, flag_type="opted_out", created_at=NOW))
    await session.commit()

    opted_out = await client.post(f"/v1/campaigns/{campaign.id}/test-send", json={"to": OWN_NUMBER})
    line = await client.post(f"/v1/campaigns/{blocked.id}/test-send", json={"to": "+16175550100"})

    assert (opted_out.status_code, opted_out.json()["code"]) == (409, "recipient_opted_out")
    assert (line.status_code, line.json()["code"]) == (409, "line_blocked")


async def test_copy_is_an_independent_draft(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(session, body="Hi {{ first_name }}")
    original = (await client.get(f"/v1/campaigns/{campaign.id}")).json()

    unnamed = await client.post(f"/v1/campaigns/{campaign.id}/clone")
    named = await client.post(f"/v1/campaigns/{campaign.id}/clone", json={"name": "Winter"})

    own = ("id", "name", "created_at", "updated_at")
    assert (unnamed.status_code, named.status_code) == (201, 201)
    assert unnamed.json()["name"] == "Autumn check (copy)"
    assert named.json()["name"] == "Winter"
    assert unnamed.json()["id"] != original["id"]
    assert {name: value for name, value in unnamed.json().items() if name not in own} == {
        name: value for name, value in original.items() if name not in own
    }


def apply_us_rules(app: FastAPI) -> None:
    """Let the application apply the legal rules of the United States, as with a real provider."""
    state = app.state.crm
    settings = state.settings.model_copy(update={"compliance_rules": "us"})
    app.state.crm = type(state)(
        **{**{name: getattr(state, name) for name in vars(state)}, "settings": settings}
    )


async def test_start_refuses_a_message_without_sender_only_with_legal_rules(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(session, body="Hi there")
    path = f"/v1/campaigns/{campaign.id}"
    copy = (await client.post(f"{path}/clone")).json()["id"]

    warned = (await client.post(f"{path}/preview")).json()["warnings"]
    without_rules = await client.post(f"/v1/campaigns/{copy}/start")
    apply_us_rules(app)
    refused = await client.post(f"{path}/start")
    status = (await client.get(path)).json()["status"]

    codes = ["sender_not_named", "no_way_to_stop"]
    assert [warning["code"] for warning in warned] == codes
    assert without_rules.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (422, "missing_identification")
    assert [fault["code"] for fault in refused.json()["errors"]] == codes
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {"/variants/0/body"}
    assert status == "draft"


async def test_start_accepts_a_message_with_sender_with_legal_rules(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_draft(
        session, body="Hi, {{ business.name }} here.", opt_out_footer="Reply STOP to opt out"
    )
    apply_us_rules(app)

    response = await client.post(f"/v1/campaigns/{campaign.id}/start")

    assert response.status_code == 200
    assert response.json()["status"] == "scheduled"
