"""Tests of notes about a contact: authorisation, input, and where the notes are shown."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.models.contacts import ContactNote

UNKNOWN_CONTACT = "/v1/contacts/00000000-0000-7000-8000-000000000000/notes"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", UNKNOWN_CONTACT, WRITE),
    ("GET", UNKNOWN_CONTACT, READ),
    ("PATCH", f"{UNKNOWN_CONTACT}/00000000-0000-7000-8000-000000000001", WRITE),
    ("DELETE", f"{UNKNOWN_CONTACT}/00000000-0000-7000-8000-000000000001", WRITE),
]


async def create_notes_path(session: AsyncSession) -> str:
    return f"/v1/contacts/{(await make_contact(session)).id}/notes"


async def write_note(client: httpx.AsyncClient, path: str, body: str, **values: Any) -> Any:
    response = await client.post(path, json={"body": body, **values})
    assert response.status_code == 201, response.text
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


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_notes_of_an_unknown_contact_are_not_found(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    response = await client.request(method, path, json={"body": "Called."})

    assert response.status_code == 404, scope
    assert response.json()["code"] == "contact_not_found"


async def test_note_shows_its_author_and_keeps_line_breaks(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    path = await create_notes_path(session)

    response = await client.post(
        path, json={"body": "Basement leaks.\nCall after six."}, headers=await key_with(WRITE)
    )

    assert response.status_code == 201
    note = response.json()
    assert note["body"] == "Basement leaks.\nCall after six."
    assert note["author"] == "scoped"
    assert note["pinned"] is False
    assert (await client.get(path)).json()["data"] == [note]


@pytest.mark.parametrize("body", ["", "   ", "x" * 10_001, "half\x00", None])
async def test_a_note_with_invalid_text_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, body: str | None
) -> None:
    path = await create_notes_path(session)

    response = await client.post(path, json={"body": body})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/body"
    assert await session.scalar(select(func.count()).select_from(ContactNote)) == 0


async def test_an_edit_changes_text_and_pin_but_not_the_author(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    path = await create_notes_path(session)
    note = await write_note(client, path, "Basement leeks.")
    other = await key_with(WRITE)

    fixed = await client.patch(
        f"{path}/{note['id']}", json={"body": "Basement leaks."}, headers=other
    )
    pinned = await client.patch(f"{path}/{note['id']}", json={"pinned": True}, headers=other)
    same = await client.patch(f"{path}/{note['id']}", json={}, headers=other)

    assert fixed.json()["body"] == "Basement leaks."
    assert fixed.json()["pinned"] is False
    assert pinned.json()["pinned"] is True
    assert pinned.json()["author"] == note["author"]
    assert same.json() == pinned.json()


async def test_second_removal_of_a_note_is_404(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = await create_notes_path(session)
    note = await write_note(client, path, "Wrong house.")

    first = await client.delete(f"{path}/{note['id']}")
    second = await client.delete(f"{path}/{note['id']}")

    assert first.status_code == 204
    assert second.status_code == 404
    assert second.json()["code"] == "note_not_found"


async def test_note_is_found_only_with_its_own_contact(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    note = await write_note(client, await create_notes_path(session), "Hers.")
    other = await make_contact(session, phone="+16175550124")

    changed = await client.patch(
        f"/v1/contacts/{other.id}/notes/{note['id']}", json={"body": "His."}
    )
    removed = await client.delete(f"/v1/contacts/{other.id}/notes/{note['id']}")

    assert (changed.status_code, removed.status_code) == (404, 404)
    assert await session.scalar(select(ContactNote.body)) == "Hers."


async def test_notes_are_newest_first_and_can_be_filtered_by_pin(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = await create_notes_path(session)
    for position in range(5):
        note = await write_note(client, path, f"Note {position}", pinned=position % 2 == 0)
        await session.execute(
            update(ContactNote)
            .where(ContactNote.id == UUID(note["id"]))
            .values(created_at=NOW + timedelta(minutes=position))
        )

    first = (await client.get(path, params={"limit": 2})).json()
    second = (await client.get(path, params={"limit": 200, "cursor": first["next_cursor"]})).json()
    pinned = (await client.get(path, params={"pinned": True})).json()["data"]

    bodies = [note["body"] for note in [*first["data"], *second["data"]]]
    assert bodies == ["Note 4", "Note 3", "Note 2", "Note 1", "Note 0"]
    assert second["next_cursor"] is None
    assert [note["body"] for note in pinned] == ["Note 4", "Note 2", "Note 0"]


async def test_notes_are_in_the_timeline(client: httpx.AsyncClient, session: AsyncSession) -> None:
    contact = await make_contact(session)
    note = await write_note(client, f"/v1/contacts/{contact.id}/notes", "Called.", pinned=True)
    await client.post(f"/v1/contacts/{contact.id}/opt-out", json={"reason": "asked"})

    items = (await client.get(f"/v1/contacts/{contact.id}/timeline")).json()["data"]

    assert [item["type"] for item in items] == ["opt_out", "note"]
    assert items[1] == {
        "id": note["id"],
        "type": "note",
        "at": note["created_at"],
        "author": note["author"],
        "body": "Called.",
        "pinned": True,
        "updated_at": note["updated_at"],
    }


async def test_deleting_a_contact_deletes_its_notes(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    await write_note(client, f"/v1/contacts/{contact.id}/notes", "Called.")

    await client.delete(f"/v1/contacts/{contact.id}")

    assert await session.scalar(select(func.count()).select_from(ContactNote)) == 0
