"""Tests of the headers ``ETag``, ``If-None-Match`` and ``If-Match``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def create_contact(client: httpx.AsyncClient) -> str:
    made = await client.post("/v1/contacts", json={"phone": "617-555-0142", "first_name": "Ada"})
    assert made.status_code == 201, made.text
    return f"/v1/contacts/{made.json()['id']}"


async def test_an_unchanged_resource_is_not_sent_again(client: httpx.AsyncClient) -> None:
    path = await create_contact(client)
    seen = await client.get(path)

    again = await client.get(path, headers={"If-None-Match": seen.headers["etag"]})

    assert (seen.status_code, again.status_code) == (200, 304)
    assert again.content == b""
    assert again.headers["etag"] == seen.headers["etag"]


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"other", {}', "*"])
async def test_every_form_of_if_none_match_is_accepted(
    client: httpx.AsyncClient, condition: str
) -> None:
    path = await create_contact(client)
    tag = (await client.get(path)).headers["etag"]

    again = await client.get(path, headers={"If-None-Match": condition.format(tag)})

    assert again.status_code == 304


async def test_changed_resource_is_sent_again(client: httpx.AsyncClient) -> None:
    path = await create_contact(client)
    tag = (await client.get(path)).headers["etag"]
    changed = await client.patch(path, json={"first_name": "Bea"})

    again = await client.get(path, headers={"If-None-Match": tag})

    assert again.status_code == 200
    assert again.headers["etag"] == changed.headers["etag"] != tag


async def test_change_of_the_current_version_is_applied(client: httpx.AsyncClient) -> None:
    path = await create_contact(client)
    tag = (await client.get(path)).headers["etag"]

    changed = await client.patch(path, json={"first_name": "Bea"}, headers={"If-Match": tag})
    deleted = await client.delete(path, headers={"If-Match": changed.headers["etag"]})

    assert changed.json()["first_name"] == "Bea"
    assert deleted.status_code == 204


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_change_of_an_old_version_is_refused(client: httpx.AsyncClient, method: str) -> None:
    path = await create_contact(client)
    tag = (await client.get(path)).headers["etag"]
    await client.patch(path, json={"first_name": "Bea"})

    refused = await client.request(
        method, path, json={"first_name": "Cleo"}, headers={"If-Match": tag}
    )

    assert refused.status_code == 412
    assert refused.json()["code"] == "changed_since"
    assert (await client.get(path)).json()["first_name"] == "Bea"


async def test_only_one_of_concurrent_changes_of_a_version_is_applied(
    committed_client: httpx.AsyncClient,
) -> None:
    path = await create_contact(committed_client)
    # Open the connections first, so that the changes below run at the same time.
    seen = await asyncio.gather(*(committed_client.get(path) for _ in range(8)))
    tag = seen[0].headers["etag"]

    answers: list[Any] = await asyncio.gather(
        *(
            committed_client.patch(path, json={"first_name": name}, headers={"If-Match": tag})
            for name in ("Bea", "Cleo", "Dora", "Elsa")
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_unknown_resource_is_not_found(client: httpx.AsyncClient) -> None:
    nothing = "/v1/contacts/00000000-0000-7000-8000-000000000000"

    answer = await client.patch(nothing, json={}, headers={"If-Match": "*"})

    assert answer.status_code == 404


async def test_if_match_requires_the_read_scope(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    path = await create_contact(client)
    headers = {**await key_with(Scope.CONTACTS_WRITE), "If-Match": '"any"'}

    answer = await client.patch(path, json={"first_name": "Bea"}, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["required_scope"] == Scope.CONTACTS_READ


async def test_lists_have_etags(client: httpx.AsyncClient) -> None:
    await create_contact(client)
    seen = await client.get("/v1/contacts")

    again = await client.get("/v1/contacts", headers={"If-None-Match": seen.headers["etag"]})

    assert again.status_code == 304
