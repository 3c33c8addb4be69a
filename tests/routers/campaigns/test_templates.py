"""Tests of the template routes: authorisation, input, responses, and copies in campaigns."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, make_line

from crm_api.domain.identity.api_keys.models import Scope

UNKNOWN_TEMPLATE = "/v1/templates/00000000-0000-7000-8000-000000000000"
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CAMPAIGNS_READ, Scope.CAMPAIGNS_WRITE
ROUTES = [
    ("POST", "/v1/templates", WRITE),
    ("GET", "/v1/templates", READ),
    ("GET", UNKNOWN_TEMPLATE, READ),
    ("PATCH", UNKNOWN_TEMPLATE, WRITE),
    ("DELETE", UNKNOWN_TEMPLATE, WRITE),
    ("POST", f"{UNKNOWN_TEMPLATE}/submit", WRITE),
    ("GET", f"{UNKNOWN_TEMPLATE}/stats", READ),
]


async def create_template(
    client: httpx.AsyncClient, name: str = "Greeting", body: str = "Hi {{ first_name }}"
) -> Any:
    response = await client.post("/v1/templates", json={"name": name, "body": body})
    assert response.status_code == 201, response.text
    return response.json()


def faults(response: httpx.Response) -> list[tuple[str, str]]:
    assert response.status_code == 422, response.text
    return [(fault["pointer"], fault["code"]) for fault in response.json()["errors"]]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_is_refused(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    del client.headers["Authorization"]

    assert (await client.request(method, path, json={})).status_code == 401, scope


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = READ if scope is WRITE else WRITE

    response = await client.request(method, path, json={}, headers=await key_with(other))

    assert response.status_code == 403
    assert response.json()["required_scope"] == scope


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_unknown_template_is_not_found(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, UNKNOWN_TEMPLATE, json={"body": "Hi"})

    assert response.status_code == 404
    assert response.json()["code"] == "template_not_found"


async def test_template_is_created_changed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await create_template(client)
    path = f"/v1/templates/{made['id']}"

    changed = await client.patch(path, json={"body": " Hello {{ first_name }}\nBye "})
    renamed = await client.patch(path, json={"name": "Hello"})
    shown = (await client.get("/v1/templates")).json()
    deleted = await client.delete(path)

    assert made["created_at"].endswith("Z")
    body = "Hello {{ first_name }}\nBye"
    assert changed.json() == {
        **made,
        "body": body,
        "version": 2,
        "versions": [
            *made["versions"],
            {
                **made["versions"][0],
                "version": 2,
                "body": body,
                "created_at": changed.json()["versions"][1]["created_at"],
            },
        ],
        "updated_at": changed.json()["updated_at"],
    }
    assert (made["version"], made["status"], made["category"]) == (1, "draft", None)
    assert shown == {"data": [renamed.json()], "next_cursor": None}
    assert renamed.json()["name"] == "Hello"
    assert deleted.status_code == 204
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "variables", "encoding", "segments"),
    [
        ("Reply STOP to end", [], "GSM-7", 1),
        ("x" * 161, [], "GSM-7", 2),
        ("Hola \u2014 adi\u00f3s \U0001f3e0", [], "UCS-2", 1),
        (
            "{{ street }}, {{ attributes.roof }}, {{ business.name }}, {{ street | upcase }}",
            ["attributes.roof", "business.name", "street"],
            None,
            None,
        ),
        ("{% if company %}Hi{% endif %}", ["company"], None, None),
    ],
)
async def test_template_shows_its_variables_and_its_size(
    client: httpx.AsyncClient,
    body: str,
    variables: list[str],
    encoding: str | None,
    segments: int | None,
) -> None:
    made = await create_template(client, body=body)

    assert made["body"] == body
    assert (made["variables"], made["encoding"], made["segments"]) == (
        variables,
        encoding,
        segments,
    )


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        ("Hi\nyou {{ nope }}", "unknown_variable", "line 2, column 8"),
        ("Hi {{ first_name", "template_syntax", "line 1, column 4"),
        ("Hi {{ first_name | shout }}", "unknown_filter", "line 1, column 20"),
    ],
)
async def test_invalid_body_is_refused_with_a_pointer(
    client: httpx.AsyncClient, body: str, code: str, place: str
) -> None:
    kept = await create_template(client)

    made = await client.post("/v1/templates", json={"name": "Other", "body": body})
    changed = await client.patch(f"/v1/templates/{kept['id']}", json={"body": body})

    for response in (made, changed):
        assert faults(response) == [("/body", code)]
        assert response.json()["errors"][0]["detail"].startswith(place)
        assert response.json()["code"] == "invalid_template"
    assert (await client.get(f"/v1/templates/{kept['id']}")).json() == kept


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": " "}, ("/name", "empty")),
        ({"name": None}, ("/name", "string_type")),
        ({"body": ""}, ("/body", "string_too_short")),
        ({"body": "x" * 10_000}, ("/body", "string_too_long")),
        ({"body": "\b" + "x" * 1600}, ("/body", "string_too_long")),
        ({"text": "Hi"}, ("/text", "unknown_field")),
    ],
)
async def test_invalid_field_is_reported(
    client: httpx.AsyncClient, changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    kept = await create_template(client)

    made = await client.post("/v1/templates", json={"name": "Other", "body": "Hi", **changes})
    changed = await client.patch(f"/v1/templates/{kept['id']}", json=changes)

    assert faults(made) == faults(changed) == [fault]


async def test_name_is_unique(client: httpx.AsyncClient) -> None:
    first = await create_template(client)
    second = await create_template(client, name="Other")

    made = await client.post("/v1/templates", json={"name": "Greeting", "body": "Hi"})
    renamed = await client.patch(f"/v1/templates/{second['id']}", json={"name": "Greeting"})

    for response in (made, renamed):
        assert response.status_code == 409
        assert response.json()["code"] == "template_exists"
        assert response.json()["template_id"] == first["id"]


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


async def test_campaign_copies_the_body_and_keeps_it(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    template = await create_template(client)
    body = await campaign_body(session, template_id=template["id"])

    made = await client.post("/v1/campaigns", json=body)
    await client.patch(f"/v1/templates/{template['id']}", json={"body": "Other"})
    read = await client.get(f"/v1/campaigns/{made.json()['id']}")

    assert made.status_code == 201, made.text
    assert made.json()["variants"] == [
        {
            "name": "A",
            "body": "Hi {{ first_name }}",
            "template_id": template["id"],
            "template_version": 1,
            "weight": 100,
            "for_known": False,
        }
    ]
    assert read.json() == made.json()


async def test_draft_can_use_another_template(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    template = await create_template(client, body="Second text")
    made = await client.post("/v1/campaigns", json=await campaign_body(session, body="First"))
    path = f"/v1/campaigns/{made.json()['id']}"

    variants = [{"name": "A", "template_id": template["id"], "weight": 100}]
    changed = await client.patch(path, json={"variants": variants})
    await client.delete(f"/v1/templates/{template['id']}")

    assert changed.status_code == 200, changed.text
    assert (await client.get(path)).json()["variants"][0]["body"] == "Second text"


async def test_preview_can_use_a_template(client: httpx.AsyncClient, session: AsyncSession) -> None:
    template = await create_template(client)
    body = await campaign_body(session, template_id=template["id"])

    shown = await client.post("/v1/campaigns/preview", json=body)

    assert shown.status_code == 200, shown.text
    assert [sample["text"] for sample in shown.json()["samples"]] == ["Hi Ada"]


@pytest.mark.parametrize("path", ["/v1/campaigns", "/v1/campaigns/preview"])
async def test_unknown_template_in_a_campaign_is_reported(
    client: httpx.AsyncClient, session: AsyncSession, path: str
) -> None:
    body = await campaign_body(session, template_id=UNKNOWN_ID)
    body["follow_ups"] = [{"after_hours": 24, "template_id": UNKNOWN_ID}]

    response = await client.post(path, json=body)

    assert faults(response) == [
        ("/variants/0/template_id", "unknown_template"),
        ("/follow_ups/0/template_id", "unknown_template"),
    ]


@pytest.mark.parametrize("content", [{}, {"body": "Hi", "template_id": UNKNOWN_ID}])
async def test_variant_has_exactly_one_source(
    client: httpx.AsyncClient, session: AsyncSession, content: dict[str, str]
) -> None:
    body = await campaign_body(session, **content)
    body["follow_ups"] = [{"after_hours": 24, **content}]

    response = await client.post("/v1/campaigns", json=body)

    assert faults(response) == [("/variants/0", "one_text"), ("/follow_ups/0", "one_text")]
