"""Tests of the tags of many contacts: authorisation, changes and counts."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, make_list, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.models.contacts import Contact, TagCount
from crm_api.domain.people.tags import tag_changes, tag_counts
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
ROUTES = [
    ("POST", "/v1/contacts/tags", WRITE),
    ("GET", "/v1/tags", READ),
    ("PATCH", "/v1/tags/roof", WRITE),
    ("DELETE", "/v1/tags/roof", WRITE),
    ("GET", f"/v1/tag-changes/{UNKNOWN_ID}", READ),
]


async def create_three_contacts(session: AsyncSession) -> list[Contact]:
    """Create three contacts: Ada with the tags roof and crack, Bea with roof, Cy without tags."""
    return [
        await make_contact(session, phone=number(0), first_name="Ada", tags=["roof", "crack"]),
        await make_contact(session, phone=number(1), first_name="Bea", tags=["roof"]),
        await make_contact(session, phone=number(2), first_name="Cy"),
    ]


async def tags_of(session: AsyncSession) -> list[list[str]]:
    rows = await session.scalars(select(Contact.tags).order_by(Contact.phone))
    return [list(row) for row in rows]


async def change_tags(client: httpx.AsyncClient, **body: Any) -> Any:
    response = await client.post("/v1/contacts/tags", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_is_refused(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    del client.headers["Authorization"]

    response = await client.request(method, path, json={})

    assert response.status_code == 401, scope


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = READ if scope is WRITE else WRITE

    response = await client.request(method, path, json={}, headers=await key_with(other))

    assert response.status_code == 403


async def test_tags_are_added_to_and_removed_from_named_contacts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada, _, cy = await create_three_contacts(session)

    answer = await change_tags(
        client, add=["vip", "roof"], remove=["crack"], contact_ids=[str(ada.id), str(cy.id)]
    )

    assert await tags_of(session) == [["roof", "vip"], ["roof"], ["vip", "roof"]]
    assert (answer["status"], answer["matched"], answer["changed"]) == ("completed", 2, 2)
    assert (await client.get(f"/v1/tag-changes/{answer['id']}")).json() == answer


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"tag": "crack"}, [True, False, False]),
        ({"q": "bea"}, [False, True, False]),
        ({"phone": number(2)}, [False, False, True]),
        ({"opted_out": False}, [True, True, True]),
        ({"created_after": "2026-11-26T00:00:00Z"}, [False, False, False]),
        ({}, [True, True, True]),
    ],
)
async def test_a_filter_selects_the_contacts(
    client: httpx.AsyncClient, session: AsyncSession, wanted: dict[str, Any], expected: list[bool]
) -> None:
    await create_three_contacts(session)

    dry = await change_tags(client, add=["new"], filter=wanted, dry_run=True)
    untouched = await tags_of(session)
    answer = await change_tags(client, add=["new"], filter=wanted)

    assert ["new" in row for row in await tags_of(session)] == expected
    assert (dry["id"], dry["status"], dry["matched"]) == (None, "dry_run", sum(expected))
    assert answer["changed"] == sum(expected)
    assert not any("new" in row for row in untouched)


async def test_a_list_selects_the_contacts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    people = await create_three_contacts(session)
    named = await make_list(session, contacts=people[1:])

    await change_tags(client, add=["new"], filter={"list_id": str(named.id)})

    assert await tags_of(session) == [["roof", "crack"], ["roof", "new"], ["new"]]


async def test_a_change_that_affects_its_own_filter_reaches_every_contact(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tag_changes, "CHUNK_CONTACTS", 2)
    for place in range(5):
        await make_contact(session, phone=number(place), tags=["old"])
    await session.commit()

    response = await client.delete("/v1/tags/old")
    begun = response.json()
    while True:
        async with new_uow() as uow:
            if not await tag_changes.apply_next_chunk(uow, now=NOW):
                break

    ended = (await client.get(f"/v1/tag-changes/{begun['id']}")).json()
    assert response.status_code == 202
    assert (begun["status"], begun["changed"]) == ("running", 2)
    assert (ended["status"], ended["matched"], ended["changed"]) == ("completed", 5, 5)
    assert await tags_of(session) == [[]] * 5


async def test_renaming_keeps_one_tag_if_a_contact_has_both(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_three_contacts(session)

    response = await client.patch("/v1/tags/roof", json={"name": "crack"})

    assert response.status_code == 200
    assert await tags_of(session) == [["crack"], ["crack"], []]


async def test_a_tag_with_a_slash_is_deleted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await make_contact(session, tags=["a/b", "c"])

    response = await client.delete("/v1/tags/a/b")

    assert response.status_code == 200
    assert await tags_of(session) == [["c"]]


async def test_an_unused_tag_is_not_found(client: httpx.AsyncClient, session: AsyncSession) -> None:
    await create_three_contacts(session)

    renamed = await client.patch("/v1/tags/beds", json={"name": "rooms"})
    removed = await client.delete("/v1/tags/beds")

    assert renamed.status_code == removed.status_code == 404
    assert removed.json()["code"] == "tag_not_found"


async def test_an_unknown_change_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/v1/tag-changes/{UNKNOWN_ID}")

    assert response.status_code == 404
    assert response.json()["code"] == "tag_change_not_found"


async def test_contacts_that_would_have_too_many_tags_are_skipped(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    full = [f"tag{place}" for place in range(50)]
    await make_contact(session, tags=full)

    answer = await change_tags(client, add=["new"], filter={})

    assert (answer["changed"], answer["refused"]) == (0, 1)
    assert await tags_of(session) == [full]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"add": ["x"]}, "/contact_ids"),
        ({"add": ["x"], "contact_ids": [UNKNOWN_ID], "filter": {}}, "/contact_ids"),
        ({"add": ["x"], "contact_ids": [UNKNOWN_ID]}, "/contact_ids/0"),
        ({"add": ["x"], "contact_ids": []}, "/contact_ids"),
        ({"add": ["x" * 65], "filter": {}}, "/add"),
        ({"add": ["x"], "filter": {"nonsense": 1}}, "/filter/nonsense"),
        ({"filter": {}}, "/"),
        ({"add": ["x"], "remove": ["x"], "filter": {}}, "/"),
    ],
)
async def test_invalid_requests_are_refused(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    response = await client.post("/v1/contacts/tags", json=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_tags_are_counted_and_paged_by_name(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_three_contacts(session)
    await make_contact(session, phone=number(3), tags=["gone"], deleted_at=NOW)

    first = (await client.get("/v1/tags", params={"limit": 1})).json()
    rest = (await client.get("/v1/tags", params={"cursor": first["next_cursor"]})).json()

    assert first["data"] == [{"tag": "crack", "contact_count": 1, "counted_at": None}]
    assert rest["data"] == [{"tag": "roof", "contact_count": 2, "counted_at": None}]
    assert rest["next_cursor"] is None


async def test_tags_of_a_large_database_are_counted_by_a_job(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tag_counts, "COUNTED_LIVE_BYTES", -1)
    await create_three_contacts(session)
    await session.execute(
        insert(TagCount).values(tag="gone", contacts=7, counted_at=NOW - timedelta(days=1))
    )
    await session.commit()

    for minutes in (0, 1):
        async with new_uow() as uow:
            await tag_counts.refresh_tag_counts(uow, now=NOW + timedelta(minutes=minutes))

    found = (await client.get("/v1/tags")).json()["data"]
    assert [(row["tag"], row["contact_count"]) for row in found] == [("crack", 1), ("roof", 2)]
    assert {row["counted_at"] for row in found} == {"2026-11-25T15:00:00.000Z"}


async def test_old_ids_of_merged_contacts_are_accepted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada, bea, _ = await create_three_contacts(session)
    await session.execute(
        text("UPDATE contact SET merged_into = :ada, deleted_at = :now WHERE id = :bea"),
        {"ada": ada.id, "bea": bea.id, "now": NOW},
    )

    answer = await change_tags(client, add=["new"], contact_ids=[str(bea.id), str(ada.id)])

    assert answer["matched"] == 1
    assert (await tags_of(session))[0] == ["roof", "crack", "new"]


async def test_a_change_is_in_the_audit_log(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_three_contacts(session)

    answer = await change_tags(client, add=["new"], filter={})

    row = (await session.execute(text("SELECT action, subject FROM audit_log"))).one()
    assert tuple(row) == ("change_tags", answer["id"])
    assert await session.scalar(select(func.count()).select_from(Contact)) == 3
    assert answer["id"] != str(new_id())
