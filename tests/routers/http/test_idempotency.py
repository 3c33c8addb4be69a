"""A POST with an ``Idempotency-Key`` has one effect, even if it is sent several times."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import idempotency
from crm_api.domain.kit.idempotency import IdempotencyKey
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

PERSON = {"phone": "617-555-0142", "first_name": "Ada"}
KEY = {"Idempotency-Key": "0d4e5c1a-first"}
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def test_repeated_request_gets_the_same_response(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    first = await client.post("/v1/contacts", json=PERSON, headers=KEY)
    again = await client.post("/v1/contacts", json=PERSON, headers=KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await session.scalar(select(func.count()).select_from(Contact)) == 1


async def test_without_a_key_nothing_is_stored(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await client.post("/v1/contacts", json=PERSON)
    again = await client.post("/v1/contacts", json=PERSON)

    assert again.json()["code"] == "contact_exists"
    assert await session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/contacts", {**PERSON, "first_name": "Bea"}),
        ("/v1/lists", PERSON),
    ],
)
async def test_key_that_was_used_for_another_request_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    await client.post("/v1/contacts", json=PERSON, headers=KEY)

    body = {"name": "x"} if path == "/v1/lists" else body
    other = await client.post(path, json=body, headers=KEY)

    assert other.status_code == 409
    assert other.json()["code"] == "idempotency_key_reused"


async def test_two_callers_may_use_the_same_key(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    await client.post("/v1/contacts", json=PERSON, headers=KEY)

    other = await client.post(
        "/v1/contacts",
        json={"phone": "617-555-0143"},
        headers={**KEY, **await key_with(Scope.CONTACTS_WRITE)},
    )

    assert other.status_code == 201, other.text


async def test_refused_request_leaves_the_key_unused(client: httpx.AsyncClient) -> None:
    await client.post("/v1/contacts", json=PERSON)
    refused = await client.post("/v1/contacts", json=PERSON, headers=KEY)
    wrong = await client.post("/v1/contacts", json={"phone": "1"}, headers=KEY)

    right = await client.post("/v1/contacts", json={"phone": "617-555-0143"}, headers=KEY)

    assert (refused.status_code, wrong.status_code, right.status_code) == (409, 422, 201)


async def test_jobs_are_pushed_once(client: httpx.AsyncClient, queue: RecordingQueue) -> None:
    files = {"file": ("a.csv", b"Name,Phone\nAda,617-555-0142\n")}

    first = await client.post("/v1/imports", files=files, headers=KEY)
    pushed = len(queue.jobs)
    again = await client.post("/v1/imports", files=files, headers=KEY)

    assert first.status_code == 202, first.text
    assert again.json() == first.json()
    assert (pushed, len(queue.jobs)) == (1, 1)


async def test_another_file_with_the_same_key_is_refused(client: httpx.AsyncClient) -> None:
    rows = [b"Name,Phone\nAda,617-555-0142\n", b"Name,Phone\nAda,617-555-0143\n"]

    answers = [
        await client.post("/v1/imports", files={"file": ("a.csv", row)}, headers=KEY)
        for row in rows
    ]

    assert [answer.status_code for answer in answers] == [202, 409]


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
async def test_an_invalid_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]

    answer = await client.post("/v1/contacts", json=PERSON, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_idempotency_key"


async def test_key_of_an_unauthenticated_request_is_not_stored(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    answer = await client.post(
        "/v1/contacts", json=PERSON, headers={**KEY, "Authorization": "Bearer nobody"}
    )

    assert answer.status_code == 401
    assert await session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0


async def test_concurrent_repeats_have_one_effect(committed_client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(committed_client.post("/v1/contacts", json=PERSON, headers=KEY) for _ in range(8))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 7


async def test_repeat_of_an_unfinished_request_is_refused(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    made = await committed_client.post("/v1/contacts", json=PERSON, headers=KEY)
    assert made.status_code == 201
    # This open transaction has the lock of the key, like a first request that has not ended.
    async with committed_db.begin() as connection:
        await connection.execute(text("DELETE FROM idempotency_key"))
        await connection.execute(
            text(
                "INSERT INTO idempotency_key (caller, key, fingerprint, created_at) "
                "SELECT id::text, :key, '', now() FROM api_key"
            ),
            {"key": KEY["Idempotency-Key"]},
        )

        answer = await committed_client.post("/v1/contacts", json=PERSON, headers=KEY)

    assert answer.status_code == 409
    assert answer.json()["code"] == "idempotency_key_in_use"


async def test_keys_are_deleted_after_two_days(
    client: httpx.AsyncClient, new_uow: Callable[[], UnitOfWork]
) -> None:
    await client.post("/v1/contacts", json=PERSON, headers=KEY)
    now = clock.now()

    async with new_uow() as uow:
        early = await idempotency.clean_up(uow, now=now + timedelta(hours=47))
        late = await idempotency.clean_up(uow, now=now + timedelta(hours=49))

    assert (early, late) == (0, 1)
