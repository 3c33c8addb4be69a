"""Tests of the routes of API keys: creation, use, expiry, rotation and revocation."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import UNKNOWN_ID

from crm_api.domain.identity.api_keys.authentication import KEY_PATTERN, key_checksum
from crm_api.domain.identity.api_keys.key_usage import KeyUsage
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

HOUR = timedelta(hours=1)


async def create_key(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    body = {"name": "reports", "scopes": ["contacts:read"], **fields}
    answer = await client.post("/v1/api-keys", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def list_contacts_with(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.get("/v1/contacts", headers={"Authorization": f"Bearer {key}"})


async def expire_key(session: AsyncSession, key_id: str) -> None:
    await session.execute(
        text("UPDATE api_key SET expires_at = :at WHERE id = CAST(:id AS uuid)"),
        {"at": clock.now(), "id": key_id},
    )


async def test_a_new_key_is_shown_once_and_works(client: httpx.AsyncClient) -> None:
    made = await create_key(client)

    read = (await client.get(f"/v1/api-keys/{made['id']}")).json()
    assert (await list_contacts_with(client, made["key"])).status_code == 200
    assert read == {name: value for name, value in made.items() if name != "key"}
    assert read["status"] == "active"
    assert read["created_by"] == "bootstrap"
    assert made["key"].startswith(read["prefix"])


async def test_secret_scanner_finds_a_key_and_verifies_its_checksum(
    client: httpx.AsyncClient,
) -> None:
    made = await create_key(client)

    found = KEY_PATTERN.search(f"export KEY='{made['key']}' # oh no")

    assert found is not None
    assert found[0] == made["key"]
    assert key_checksum(found[1]) == found[2]


async def test_checksum_is_computed_as_documented() -> None:
    assert key_checksum("0" * 40) == "2kaqcA"


async def test_expired_key_is_refused_with_advice(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_key(client, expires_at=(clock.now() + HOUR).isoformat())
    before = await list_contacts_with(client, made["key"])
    await expire_key(session, made["id"])

    after = await list_contacts_with(client, made["key"])

    assert before.status_code == 200
    assert after.status_code == 401
    assert after.json()["code"] == "api_key_expired"
    assert "POST /v1/api-keys" in after.json()["detail"]
    assert after.headers["WWW-Authenticate"].startswith("Bearer")
    read = (await client.get(f"/v1/api-keys/{made['id']}")).json()
    assert read["status"] == "expired"


async def test_a_revoked_key_is_refused_at_once(client: httpx.AsyncClient) -> None:
    made = await create_key(client)
    before = await list_contacts_with(client, made["key"])

    revoked = await client.delete(f"/v1/api-keys/{made['id']}")

    after = await list_contacts_with(client, made["key"])
    assert (before.status_code, revoked.status_code, after.status_code) == (200, 204, 401)
    assert after.json()["code"] == "api_key_revoked"
    assert "create a new key" in after.json()["detail"]
    again = await client.delete(f"/v1/api-keys/{made['id']}")
    assert again.status_code == 404


async def test_mistyped_key_and_unknown_key_get_different_details(
    client: httpx.AsyncClient,
) -> None:
    key = (await create_key(client))["key"]

    cut = await list_contacts_with(client, key[:-1])
    foreign = await list_contacts_with(client, "sk_of-another-service")

    assert cut.status_code == foreign.status_code == 401
    assert cut.json()["code"] == foreign.json()["code"] == "invalid_credentials"
    assert "checksum is wrong" in cut.json()["detail"]
    assert "checksum is wrong" not in foreign.json()["detail"]


async def test_old_key_works_until_the_end_of_the_overlap(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    old = await create_key(
        client, name="till", expires_at=(clock.now() + 90 * 24 * HOUR).isoformat()
    )

    answer = await client.post(f"/v1/api-keys/{old['id']}/rotate", json={"overlap_seconds": 3600})

    new = answer.json()
    assert answer.status_code == 201
    assert (new["name"], new["scopes"], new["replaces_id"]) == ("till", old["scopes"], old["id"])
    assert new["key"] != old["key"]
    assert new["expires_at"] > old["expires_at"]
    assert (await list_contacts_with(client, old["key"])).status_code == 200
    assert (await list_contacts_with(client, new["key"])).status_code == 200
    ends = (await client.get(f"/v1/api-keys/{old['id']}")).json()["expires_at"]
    assert ends < (clock.now() + 2 * HOUR).isoformat()
    await expire_key(session, old["id"])
    assert (await list_contacts_with(client, old["key"])).status_code == 401
    assert (await list_contacts_with(client, new["key"])).status_code == 200


async def test_old_key_expires_at_once_without_an_overlap(client: httpx.AsyncClient) -> None:
    old = await create_key(client)

    new = await client.post(f"/v1/api-keys/{old['id']}/rotate", json={"overlap_seconds": 0})

    assert (await list_contacts_with(client, old["key"])).json()["code"] == "api_key_expired"
    assert (await list_contacts_with(client, new.json()["key"])).status_code == 200
    assert new.json()["expires_at"] is None


async def test_an_overlap_does_not_extend_the_expiry(client: httpx.AsyncClient) -> None:
    old = await create_key(client, expires_at=(clock.now() + HOUR).isoformat())

    await client.post(f"/v1/api-keys/{old['id']}/rotate")

    read = (await client.get(f"/v1/api-keys/{old['id']}")).json()
    assert read["expires_at"] == old["expires_at"]


async def test_a_key_has_one_successor(client: httpx.AsyncClient) -> None:
    old = await create_key(client)
    first = await client.post(f"/v1/api-keys/{old['id']}/rotate")

    second = await client.post(f"/v1/api-keys/{old['id']}/rotate")

    assert second.status_code == 409
    assert second.json()["code"] == "api_key_rotated"
    assert second.json()["successor_id"] == first.json()["id"]


async def test_name_and_expiry_of_a_key_are_changed(client: httpx.AsyncClient) -> None:
    made = await create_key(client, expires_at=(clock.now() + HOUR).isoformat())
    path = f"/v1/api-keys/{made['id']}"

    renamed = await client.patch(path, json={"name": "letters"})
    endless = await client.patch(path, json={"expires_at": None})

    assert renamed.json() == {**{k: v for k, v in made.items() if k != "key"}, "name": "letters"}
    assert endless.json()["expires_at"] is None
    assert endless.json()["name"] == "letters"


async def test_an_expiry_in_the_past_is_refused(client: httpx.AsyncClient) -> None:
    past = {"expires_at": "2020-01-01T00:00:00Z"}
    made = await create_key(client)

    new = await client.post("/v1/api-keys", json={"name": "late", "scopes": ["admin"], **past})
    changed = await client.patch(f"/v1/api-keys/{made['id']}", json=past)

    assert new.status_code == changed.status_code == 422
    assert new.json()["code"] == changed.json()["code"] == "expiry_in_the_past"
    assert new.json()["errors"][0]["pointer"] == "/expires_at"


async def test_keys_are_listed_in_pages_and_filtered_by_status(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ids = [(await create_key(client, name=f"key {n}"))["id"] for n in range(4)]
    await client.delete(f"/v1/api-keys/{ids[0]}")
    await expire_key(session, ids[1])

    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/api-keys", params=query)).json()
        seen += [key["name"] for key in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    by_status = {
        status: [
            key["id"]
            for key in (await client.get("/v1/api-keys", params={"status": status})).json()["data"]
            if key["name"] != "bootstrap"
        ]
        for status in ("active", "expired", "revoked")
    }

    assert seen == ["key 3", "key 2", "key 1", "bootstrap"]
    assert by_status == {"active": [ids[3], ids[2]], "expired": [ids[1]], "revoked": [ids[0]]}


@pytest.mark.parametrize("path", ["", "/rotate"])
async def test_an_unknown_key_is_404(client: httpx.AsyncClient, path: str) -> None:
    method = "POST" if path else "PATCH"

    answer = await client.request(method, f"/v1/api-keys/{UNKNOWN_ID}{path}", json={})

    assert answer.status_code == 404
    assert answer.json()["code"] == "api_key_not_found"


async def test_the_last_use_is_written_at_most_once_a_minute(
    app: FastAPI, client: httpx.AsyncClient, new_uow: Callable[[], UnitOfWork]
) -> None:
    made = await create_key(client)
    path = f"/v1/api-keys/{made['id']}"
    assert (await client.get(path)).json()["last_used_at"] is None
    await list_contacts_with(client, made["key"])
    await app.state.key_uses.flush()

    first = (await client.get(path)).json()["last_used_at"]
    soon, later = KeyUsage(new_uow), KeyUsage(new_uow)
    used = clock.now()
    for uses, after in ((soon, 30), (later, 90)):
        uses.note(UUID(made["id"]), used + timedelta(seconds=after))
    await soon.flush()
    second = (await client.get(path)).json()["last_used_at"]
    await later.flush()

    third = (await client.get(path)).json()["last_used_at"]
    assert first is not None
    assert second == first
    assert third > first


async def test_a_longer_name_than_documented_is_refused(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/api-keys", json={"name": "till", "scopes": ["admin"]})
    path = f"/v1/api-keys/{made.json()['id']}"

    long = await client.patch(path, json={"name": "x" * 200 + "\x07"})
    control = await client.patch(path, json={"name": "till\x07"})

    assert long.json()["errors"][0]["code"] == "string_too_long"
    assert control.json()["errors"][0]["code"] == "control_character"
    assert control.json()["errors"][0]["pointer"] == "/name"
