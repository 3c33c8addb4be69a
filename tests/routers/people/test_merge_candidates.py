"""Tests of merge candidates: pairs of contacts are found, sorted by score, and dismissed."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.deduplication import candidates
from crm_api.domain.people.models.deduplication import MergeCandidate
from crm_api.platform.database import UnitOfWorkFactory

KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
PATH = "/v1/contacts/merge-candidates"
UNKNOWN_PAIR = "00000000-0000-7000-8000-000000000000"
ROUTES = [("GET", PATH, READ), ("POST", f"{PATH}/{UNKNOWN_PAIR}/dismiss", WRITE)]
ELM = {"street": "12 Elm Street", "postal_code": "02169"}


async def create_contact(session: AsyncSession, phone: str, **values: Any) -> str:
    first_name = values.pop("first_name", None)
    made = await make_contact(session, phone=phone, first_name=first_name, **values)
    return str(made.id)


async def run_search(
    new_uow: UnitOfWorkFactory, *, now: datetime = NOW, seconds: float = 0.0
) -> bool:
    async with new_uow() as uow:
        return await candidates.find_candidates(
            uow, now=now, clock=lambda: now + timedelta(seconds=seconds)
        )


async def list_candidates(client: httpx.AsyncClient, **params: Any) -> Any:
    response = await client.get(PATH, params=params)
    assert response.status_code == 200, response.text
    return response.json()


def pairs(page: Any) -> list[set[str]]:
    return [{contact["id"] for contact in one["contacts"]} for one in page["data"]]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_is_refused(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    del client.headers["Authorization"]

    response = await client.request(method, path)

    assert response.status_code == 401, scope


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = READ if scope is WRITE else WRITE

    response = await client.request(method, path, headers=await key_with(other))

    assert response.status_code == 403


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (({"email": "ada@example.com"}, {"email": "Ada@Example.com"}), "same_email"),
        (
            (
                {"first_name": "John", "last_name": "Smith", **ELM},
                {
                    "first_name": "Jon",
                    "last_name": "Smith",
                    "street": "12 elm st",
                    "postal_code": "02169-1234",
                },
            ),
            "similar_address",
        ),
        (
            (
                {"first_name": "Ada", "last_name": "Rossi"},
                {"first_name": "Ada", "last_name": "Rossi"},
            ),
            "close_number",
        ),
    ],
)
async def test_each_reason_finds_a_pair(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    pair: tuple[dict[str, Any], dict[str, Any]],
    reason: str,
) -> None:
    one, two = pair
    first = await create_contact(session, "+16175550101", **one)
    other = "+16175550108" if reason == "close_number" else "+15085559876"
    second = await create_contact(session, other, **two)

    await run_search(new_uow)

    page = await list_candidates(client)
    (found,) = page["data"]
    assert pairs(page) == [{first, second}]
    assert [one["reason"] for one in found["reasons"]] == [reason]
    assert found["score"] == found["reasons"][0]["score"]
    assert found["primary_id"] == first


@pytest.mark.parametrize(
    ("pair", "phone"),
    [
        # Two people with the same last name and address are not a pair.
        (
            (
                {"first_name": "John", "last_name": "Smith", **ELM},
                {"first_name": "Mary", "last_name": "Smith", **ELM},
            ),
            "+15085559876",
        ),
        # The next contacts are not a pair: equal names, but numbers that differ in two digits. The
        # numbers of the contacts after them differ in one digit, but the names are different.
        (
            (
                {"first_name": "Ada", "last_name": "Rossi"},
                {"first_name": "Ada", "last_name": "Rossi"},
            ),
            "+16175550118",
        ),
        (
            (
                {"first_name": "Ada", "last_name": "Rossi"},
                {"first_name": "Bob", "last_name": "Rowe"},
            ),
            "+16175550108",
        ),
        (({}, {}), "+16175550108"),
        (({"email": "ada@example.com"}, {"email": "bea@example.com"}), "+15085559876"),
    ],
)
async def test_different_people_are_not_a_pair(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    pair: tuple[dict[str, Any], dict[str, Any]],
    phone: str,
) -> None:
    one, two = pair
    await create_contact(session, "+16175550101", **one)
    await create_contact(session, phone, **two)

    await run_search(new_uow)

    assert (await list_candidates(client))["data"] == []


async def test_reasons_add_to_the_score_and_highest_scores_come_first(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    name = {"first_name": "Ada", "last_name": "Rossi"}
    one = await create_contact(session, "+16175550101", email="ada@example.com", **name)
    two = await create_contact(session, "+16175550102", email="ada@example.com", **name)
    other = {"first_name": "Zoe", "last_name": "Lane"}
    three = await create_contact(session, "+15085550201", **other)
    four = await create_contact(session, "+15085550202", **other)
    await run_search(new_uow)

    first = await list_candidates(client, limit=1)
    second = await list_candidates(client, cursor=first["next_cursor"])
    sure = await list_candidates(client, min_score=90)
    of_three = await list_candidates(client, contact_id=three)

    assert pairs(first) == [{one, two}]
    assert pairs(second) == [{three, four}]
    assert second["next_cursor"] is None
    assert [one["reason"] for one in first["data"][0]["reasons"]] == [
        "same_email",
        "close_number",
    ]
    scores = [one["score"] for one in first["data"][0]["reasons"]]
    assert first["data"][0]["score"] > max(scores)
    assert pairs(sure) == [{one, two}]
    assert pairs(of_three) == [{three, four}]


@pytest.mark.parametrize("cursor", ["nonsense", "WzEsMl0", "e30"])
async def test_invalid_cursor_of_candidates_is_refused(
    client: httpx.AsyncClient, cursor: str
) -> None:
    response = await client.get(PATH, params={"cursor": cursor})

    assert response.status_code == 422
    assert response.json()["code"] == "invalid_cursor"


async def test_dismissed_pair_is_not_found_again(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await create_contact(session, "+16175550101", email="ada@example.com")
    await create_contact(session, "+15085559876", email="ada@example.com")
    await run_search(new_uow)
    (found,) = (await list_candidates(client))["data"]

    dismissed = await client.post(f"{PATH}/{found['id']}/dismiss")
    again = await client.post(f"{PATH}/{found['id']}/dismiss")
    await create_contact(session, "+15085550001")
    await run_search(new_uow, now=NOW + timedelta(hours=1))

    assert dismissed.status_code == again.status_code == 204
    assert (await list_candidates(client))["data"] == []


async def test_an_unknown_pair_cannot_be_dismissed(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{PATH}/{UNKNOWN_PAIR}/dismiss")

    assert response.status_code == 404
    assert response.json()["code"] == "merge_candidate_not_found"


async def test_merged_and_changed_contacts_are_no_longer_a_pair(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    one = await create_contact(session, "+16175550101", email="ada@example.com")
    two = await create_contact(session, "+15085559876", email="ada@example.com")
    three = await create_contact(session, "+15085559877", email="bea@example.com")
    four = await create_contact(session, "+14015550001", email="bea@example.com")
    await run_search(new_uow)
    assert len((await list_candidates(client))["data"]) == 2

    await client.post("/v1/contacts/merge", json={"primary_id": one, "duplicate_ids": [two]})
    await client.patch(f"/v1/contacts/{three}", json={"email": "other@example.com"})
    at_once = await list_candidates(client)
    await run_search(new_uow, now=NOW + timedelta(days=1))

    assert pairs(at_once) == [{three, four}]
    assert (await list_candidates(client))["data"] == []
    assert await session.scalar(select(func.count()).select_from(MergeCandidate)) == 0


async def test_pair_of_an_undone_merge_is_not_suggested(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    one = await create_contact(session, "+16175550101", email="ada@example.com")
    two = await create_contact(session, "+15085559876", email="ada@example.com")
    merge = await client.post(
        "/v1/contacts/merge", json={"primary_id": one, "duplicate_ids": [two]}
    )
    await client.post(f"/v1/contact-merges/{merge.json()['merge_id']}/undo")

    await run_search(new_uow)

    assert (await list_candidates(client))["data"] == []


async def test_value_shared_by_many_contacts_gives_few_pairs(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for place in range(60):
        await create_contact(session, f"+1617555{place * 101:04d}", email="none@example.com")

    await run_search(new_uow)

    assert await session.scalar(select(func.count()).select_from(MergeCandidate)) == 19


async def test_search_pauses_after_a_long_run_and_waits_for_a_change(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await create_contact(session, "+16175550101")
    minute = timedelta(minutes=1)

    first = await run_search(new_uow, now=NOW, seconds=30.0)
    resting = await run_search(new_uow, now=NOW + minute)
    once_more = await run_search(new_uow, now=NOW + 20 * minute)
    unchanged = await run_search(new_uow, now=NOW + 40 * minute)
    await create_contact(session, "+16175550102", now=NOW + 41 * minute)
    changed = await run_search(new_uow, now=NOW + 42 * minute)

    assert (first, resting, once_more, unchanged, changed) == (True, False, True, False, True)
