"""Tests of the routes of contact lists: authorisation, input and responses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import ids, make_contact, number

from crm_api.domain.identity.api_keys.models import Scope

UNKNOWN_LIST = "/v1/lists/00000000-0000-7000-8000-000000000000"
UNKNOWN_CONTACT = "00000000-0000-7000-8000-000000000001"
KeyWith = Callable[..., Awaitable[dict[str, str]]]

READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", "/v1/lists", WRITE),
    ("GET", "/v1/lists", READ),
    ("GET", UNKNOWN_LIST, READ),
    ("PATCH", UNKNOWN_LIST, WRITE),
    ("DELETE", UNKNOWN_LIST, WRITE),
    ("GET", f"{UNKNOWN_LIST}/contacts", READ),
    ("POST", f"{UNKNOWN_LIST}/contacts", WRITE),
    ("DELETE", f"{UNKNOWN_LIST}/contacts/{UNKNOWN_CONTACT}", WRITE),
]


async def create_list(client: httpx.AsyncClient, name: str = "Homeowners") -> Any:
    response = await client.post("/v1/lists", json={"name": name})
    assert response.status_code == 201, response.text
    return response.json()


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}


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


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", UNKNOWN_LIST, None),
        ("PATCH", UNKNOWN_LIST, {"name": "x"}),
        ("DELETE", UNKNOWN_LIST, None),
        ("GET", f"{UNKNOWN_LIST}/contacts", None),
        ("POST", f"{UNKNOWN_LIST}/contacts", {"contact_ids": [UNKNOWN_CONTACT]}),
        ("DELETE", f"{UNKNOWN_LIST}/contacts/{UNKNOWN_CONTACT}", None),
    ],
)
async def test_unknown_list_is_404(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    response = await client.request(method, path, json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "list_not_found"


async def test_list_is_created_changed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await create_list(client)
    path = f"/v1/lists/{made['id']}"

    renamed = await client.patch(path, json={"name": " Quincy "})
    shown = (await client.get("/v1/lists")).json()
    deleted = await client.delete(path)

    assert made["contact_count"] == 0
    assert renamed.json()["name"] == "Quincy"
    assert [one["name"] for one in shown["data"]] == ["Quincy"]
    assert shown["next_cursor"] is None
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await client.get(path)).status_code == 404


async def test_used_name_is_409_with_its_list(client: httpx.AsyncClient) -> None:
    made = await create_list(client)
    other = await create_list(client, "Realtors")

    answers = [
        await client.post("/v1/lists", json={"name": "Homeowners"}),
        await client.patch(f"/v1/lists/{other['id']}", json={"name": "Homeowners"}),
    ]

    for answer in answers:
        assert answer.status_code == 409
        assert (answer.json()["code"], answer.json()["list_id"]) == ("list_exists", made["id"])


async def test_concurrent_creates_of_a_name_make_one_list(
    committed_client: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(committed_client.post("/v1/lists", json={"name": "Homeowners"}) for _ in range(4))
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"/name": "missing"}),
        ({"name": None}, {"/name": "string_type"}),
        ({"name": " "}, {"/name": "empty"}),
        ({"name": "x" * 201}, {"/name": "string_too_long"}),
        ({"name": "x", "colour": "red"}, {"/colour": "unknown_field"}),
    ],
)
async def test_invalid_input_is_422_with_its_pointer(
    client: httpx.AsyncClient, body: dict[str, Any], expected: dict[str, str]
) -> None:
    assert faults(await client.post("/v1/lists", json=body)) == expected


async def test_contacts_are_added_shown_and_removed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"/v1/lists/{(await create_list(client))['id']}/contacts"
    who = [str(one) for one in ids(*[await make_contact(session, phone=number(n)) for n in (1, 2)])]
    await session.commit()

    added = await client.post(path, json={"contact_ids": who})
    again = await client.post(path, json={"contact_ids": who[:1]})
    shown = (await client.get(path, params={"limit": 1})).json()
    rest = (await client.get(path, params={"cursor": shown["next_cursor"]})).json()
    removed = await client.delete(f"{path}/{who[0]}")
    twice = await client.delete(f"{path}/{who[0]}")

    assert (added.status_code, added.json()["contact_count"]) == (200, 2)
    assert again.json()["contact_count"] == 2
    assert {one["id"] for one in shown["data"] + rest["data"]} == set(who)
    assert shown["data"][0].keys() >= {"phone", "flags", "opted_out", "address"}
    assert removed.status_code == 204
    assert (twice.status_code, twice.json()["code"]) == (404, "list_member_not_found")


async def test_unknown_contacts_are_422_with_their_pointers(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"/v1/lists/{(await create_list(client))['id']}"
    ada = await make_contact(session)
    await session.commit()

    response = await client.post(
        f"{path}/contacts", json={"contact_ids": [str(ada.id), UNKNOWN_CONTACT]}
    )

    assert faults(response) == {"/contact_ids/1": "contact_not_found"}
    assert (await client.get(path)).json()["contact_count"] == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/contact_ids"),
        ({"contact_ids": []}, "/contact_ids"),
        ({"contact_ids": ["x"]}, "/contact_ids/0"),
        ({"contact_ids": [UNKNOWN_CONTACT] * 1001}, "/contact_ids"),
    ],
)
async def test_invalid_ids_are_422(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    assert list(faults(await client.post(f"{UNKNOWN_LIST}/contacts", json=body))) == [pointer]
