"""After a merge, all ids and numbers lead to one contact; an undo restores all contacts."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, make_line, number

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.consent_decisions.suppression import suppress_numbers
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.domain.people.models.properties import PropertyRole
from crm_api.domain.people.properties import import_properties
from crm_api.domain.people.properties.imported_property import ImportedProperty
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", "/v1/contacts/merge", WRITE),
    ("GET", "/v1/contact-merges", READ),
    ("GET", f"/v1/contact-merges/{UNKNOWN_ID}", READ),
    ("POST", f"/v1/contact-merges/{UNKNOWN_ID}/undo", WRITE),
]
ADDRESS = {"street": "1 Elm St", "city": "Quincy", "state": "MA", "postal_code": "02169"}
A, B, C = number(0), number(1), number(2)
PAST, SOON, LATE = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2098, 2099))


async def create_contact(client: httpx.AsyncClient, phone: str, **values: Any) -> Any:
    response = await client.post("/v1/contacts", json={"phone": phone, **values})
    assert response.status_code == 201, response.text
    return response.json()


async def merge_contacts(client: httpx.AsyncClient, primary: Any, *duplicates: Any) -> Any:
    response = await client.post(
        "/v1/contacts/merge",
        json={"primary_id": primary["id"], "duplicate_ids": [one["id"] for one in duplicates]},
    )
    assert response.status_code == 200, response.text
    return response.json()


async def undo_merge(client: httpx.AsyncClient, merge: Any) -> httpx.Response:
    return await client.post(f"/v1/contact-merges/{merge['merge_id']}/undo")


async def get_contact(client: httpx.AsyncClient, one: Any) -> Any:
    response = await client.get(f"/v1/contacts/{one['id']}")
    assert response.status_code == 200, response.text
    return response.json()


def without_update_time(contact: Any) -> Any:
    """Return the fields of a contact, without the time of the last change."""
    return {name: value for name, value in contact.items() if name != "updated_at"}


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


async def test_primary_keeps_its_fields_and_gets_missing_fields(client: httpx.AsyncClient) -> None:
    primary = await create_contact(
        client, A, first_name="Ada", tags=["roof"], attributes={"year": 1950, "roof": "slate"}
    )
    first = await create_contact(
        client,
        B,
        first_name="Adah",
        last_name="Rossi",
        address={"street": "1 Elm St", "city": "Quincy", "state": "MA", "postal_code": "02169"},
        tags=["crack", "roof"],
        attributes={"year": 1951, "beds": 3},
    )
    second = await create_contact(client, C, last_name="Rosso", email="ada@example.com")

    answer = await merge_contacts(client, primary, first, second)

    assert answer["id"] == primary["id"]
    assert answer["phone"] == A
    assert (answer["first_name"], answer["last_name"]) == ("Ada", "Rossi")
    assert answer["email"] == "ada@example.com"
    assert answer["address"]["street"] == "1 Elm St"
    assert answer["tags"] == ["roof", "crack"]
    assert answer["attributes"] == {"year": 1950, "roof": "slate", "beds": 3}
    assert answer["merged_ids"] == [first["id"], second["id"]]
    assert without_update_time(await get_contact(client, primary)).items() <= answer.items()


async def test_different_address_of_a_duplicate_adds_no_parts(client: httpx.AsyncClient) -> None:
    primary = await create_contact(client, A, address={"street": "1 Elm St"})
    other = await create_contact(client, B, address={"street": "2 Oak St", "city": "Quincy"})

    answer = await merge_contacts(client, primary, other)

    assert answer["address"]["street"] == "1 Elm St"
    assert answer["address"]["city"] is None


async def test_old_id_and_old_number_return_the_primary(client: httpx.AsyncClient) -> None:
    primary, other = (
        await create_contact(client, A, first_name="Ada"),
        await create_contact(client, B),
    )
    await merge_contacts(client, primary, other)

    by_id = await client.get(f"/v1/contacts/{other['id']}")
    by_phone = await client.get(f"/v1/contacts/by-phone/{B}")
    changed = await client.patch(f"/v1/contacts/{other['id']}", json={"company": "Granite"})
    flagged = await client.post(f"/v1/contacts/{other['id']}/flags", json={"flag": "vip"})
    timeline = await client.get(f"/v1/contacts/{other['id']}/timeline")
    again = await client.post("/v1/contacts", json={"phone": B})
    listed = await client.get("/v1/contacts")

    assert by_id.json()["id"] == by_phone.json()["id"] == primary["id"]
    assert changed.json()["company"] == "Granite"
    assert flagged.json()["id"] == primary["id"]
    assert flagged.json()["flags"] == ["vip"]
    assert timeline.status_code == 200
    assert again.status_code == 409
    assert again.json()["contact_id"] == primary["id"]
    assert [one["id"] for one in listed.json()["data"]] == [primary["id"]]


async def test_lists_notes_tasks_and_conversations_move_to_the_primary(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    primary, other = await create_contact(client, A), await create_contact(client, B)
    roofs = (await client.post("/v1/lists", json={"name": "Roofs"})).json()
    await client.post(f"/v1/lists/{roofs['id']}/contacts", json={"contact_ids": [other["id"]]})
    await client.post(f"/v1/contacts/{other['id']}/notes", json={"body": "Called."})
    task = {"title": "Call", "due_at": "2026-12-01T15:00:00Z", "contact_id": other["id"]}
    await client.post("/v1/tasks", json=task)
    sent = await client.post(
        "/v1/messages", json={"line_id": str(line.id), "to": B, "body": "Hello"}
    )

    await merge_contacts(client, primary, other)

    members = (await client.get(f"/v1/lists/{roofs['id']}/contacts")).json()["data"]
    items = (await client.get(f"/v1/contacts/{primary['id']}/timeline")).json()["data"]
    conversations = (
        await client.get("/v1/conversations", params={"contact_id": primary["id"]})
    ).json()
    assert sent.status_code == 202
    assert [one["id"] for one in members] == [primary["id"]]
    assert {item["type"] for item in items} == {"note", "message"}
    tasks = (await client.get("/v1/tasks", params={"contact_id": primary["id"]})).json()["data"]
    assert [one["title"] for one in tasks] == ["Call"]
    assert [conversation["phone"] for conversation in conversations["data"]] == [B]


@pytest.mark.parametrize("flag", ["opted_out", "opt_out_hold", "do_not_contact"])
@pytest.mark.parametrize("is_primary", [True, False])
async def test_strictest_flag_applies_to_all_numbers(
    client: httpx.AsyncClient, session: AsyncSession, flag: str, *, is_primary: bool
) -> None:
    primary, one, two = [await create_contact(client, phone) for phone in (A, B, C)]
    flagged = primary if is_primary else two
    await client.post(f"/v1/contacts/{flagged['id']}/flags", json={"flag": flag})

    answer = await merge_contacts(client, primary, one, two)

    flags = await session.execute(
        text("SELECT phone FROM contact_flag WHERE flag_type = :flag ORDER BY phone"),
        {"flag": flag},
    )
    assert answer["flags"] == [flag]
    assert sorted(flags.scalars()) == sorted([A, B, C])
    if flag != "do_not_contact":
        entries = await session.execute(text("SELECT phone, reason FROM consent_wording"))
        reasons = {row.phone: row.reason for row in entries}
        assert reasons.keys() == {A, B, C}
        assert [phone for phone, reason in reasons.items() if reason is None] == [flagged["phone"]]


@pytest.mark.parametrize(
    ("ends", "merged_end"),
    [
        ({A: SOON}, SOON),
        ({B: SOON}, SOON),
        ({A: SOON, B: LATE}, LATE),
        ({A: LATE, B: SOON}, LATE),
        ({A: SOON, B: None}, None),
        ({A: None, B: SOON}, None),
        ({B: SOON, C: LATE}, LATE),
        ({A: PAST, B: SOON}, SOON),
    ],
)
async def test_latest_end_of_do_not_contact_applies_to_all_numbers(
    client: httpx.AsyncClient,
    session: AsyncSession,
    ends: dict[str, datetime | None],
    merged_end: datetime | None,
) -> None:
    primary, one, two = [await create_contact(client, phone) for phone in (A, B, C)]
    for phone, end in ends.items():
        session.add(
            ContactFlag(phone=phone, flag_type="do_not_contact", expires_at=end, created_at=NOW)
        )
    await session.flush()

    await merge_contacts(client, primary, one, two)

    rows = await session.execute(text("SELECT phone, expires_at FROM contact_flag"))
    assert {row.phone: row.expires_at for row in rows} == dict.fromkeys((A, B, C), merged_end)


async def test_temporary_do_not_contact_does_not_shorten_the_flag_of_an_earlier_duplicate(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary, one, two = [await create_contact(client, phone) for phone in (A, B, C)]
    await merge_contacts(client, primary, one)
    for phone, end in ((B, None), (C, SOON)):
        session.add(
            ContactFlag(phone=phone, flag_type="do_not_contact", expires_at=end, created_at=NOW)
        )
    await session.flush()

    await merge_contacts(client, primary, two)

    rows = await session.execute(text("SELECT phone, expires_at FROM contact_flag"))
    assert {row.phone: row.expires_at for row in rows} == {A: SOON, B: None, C: SOON}


async def test_later_opt_out_of_one_number_applies_to_all_numbers(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    await merge_contacts(client, primary, other)

    out = await client.post(f"/v1/contacts/{primary['id']}/opt-out", json={"reason": "asked"})
    opted_out = set(await session.scalars(text("SELECT phone FROM contact_flag")))
    back = await client.post(f"/v1/contacts/{other['id']}/opt-in", json={"reason": "asked"})
    left = set(await session.scalars(text("SELECT phone FROM contact_flag")))

    assert out.json()["opted_out"] is True
    assert opted_out == {A, B}
    assert back.json()["opted_out"] is False
    assert left == set()


async def test_do_not_contact_list_applies_to_all_numbers_of_the_contact(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    primary, other, third = [await create_contact(client, phone) for phone in (A, B, C)]
    await merge_contacts(client, primary, other)

    async with new_uow() as uow:
        await suppress_numbers(uow, phones=[B, number(7)], reason="a list", now=NOW)

    flagged = set(await session.scalars(text("SELECT phone FROM contact_flag")))
    assert flagged == {A, B, number(7)}
    assert (await get_contact(client, third))["flags"] == []


async def test_timeline_shows_the_consent_of_every_number(client: httpx.AsyncClient) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    await client.post(f"/v1/contacts/{other['id']}/opt-out", json={"reason": "asked by phone"})

    await merge_contacts(client, primary, other)

    items = (await client.get(f"/v1/contacts/{primary['id']}/timeline")).json()["data"]
    assert [item["type"] for item in items] == ["opt_out", "opt_out"]
    assert {item["reason"] for item in items} >= {"asked by phone"}


async def test_merging_again_changes_nothing(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    await merge_contacts(client, primary, other)

    again = await merge_contacts(client, primary, other)
    other_way = await merge_contacts(client, other, primary)

    assert again["id"] == other_way["id"] == primary["id"]
    assert again["merge_id"] is other_way["merge_id"] is None
    assert len((await session.scalars(select(ContactMerge))).all()) == 1


async def test_chain_of_merges_ends_at_the_last_primary(client: httpx.AsyncClient) -> None:
    one, two, three = [await create_contact(client, phone) for phone in (A, B, C)]
    await merge_contacts(client, two, one)

    await merge_contacts(client, three, two)

    for old in (one, two):
        assert (await get_contact(client, old))["id"] == three["id"]
    assert (await client.get(f"/v1/contacts/by-phone/{A}")).json()["id"] == three["id"]


async def test_a_duplicate_named_twice_is_merged_once(client: httpx.AsyncClient) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)

    answer = await merge_contacts(client, primary, other, other)

    assert answer["merged_ids"] == [other["id"]]


async def test_primary_cannot_be_its_own_duplicate(client: httpx.AsyncClient) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)

    response = await client.post(
        "/v1/contacts/merge",
        json={"primary_id": primary["id"], "duplicate_ids": [other["id"], primary["id"]]},
    )

    assert response.status_code == 422
    assert response.json()["code"] == "merge_with_itself"
    assert response.json()["errors"][0]["pointer"] == "/duplicate_ids/1"


async def test_unknown_and_deleted_contacts_are_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    await client.delete(f"/v1/contacts/{other['id']}")

    duplicates = await client.post(
        "/v1/contacts/merge",
        json={"primary_id": primary["id"], "duplicate_ids": [other["id"], UNKNOWN_ID]},
    )
    primaries = await client.post(
        "/v1/contacts/merge", json={"primary_id": UNKNOWN_ID, "duplicate_ids": [primary["id"]]}
    )

    assert duplicates.status_code == 422
    assert duplicates.json()["code"] == "unknown_duplicates"
    assert len(duplicates.json()["errors"]) == 2
    assert primaries.status_code == 404
    assert await session.scalar(select(ContactMerge.id)) is None


@pytest.mark.parametrize("count", [0, 51])
async def test_zero_or_too_many_duplicates_are_refused(
    client: httpx.AsyncClient, count: int
) -> None:
    ids = [str(uuid4()) for _ in range(count)]

    response = await client.post(
        "/v1/contacts/merge", json={"primary_id": UNKNOWN_ID, "duplicate_ids": ids}
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/duplicate_ids"


async def test_fifty_duplicates_are_merged_at_once(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    people = [
        await make_contact(session, phone=number(place), tags=[f"tag{place}"])
        for place in range(51)
    ]
    await session.commit()
    primary, *others = [{"id": str(one.id)} for one in people]

    answer = await merge_contacts(client, primary, *others)

    assert len(answer["merged_ids"]) == 50
    assert len(answer["tags"]) == 50
    assert (await client.get("/v1/contacts")).json()["data"] == [
        await get_contact(client, others[49])
    ]


async def test_undo_restores_both_contacts(client: httpx.AsyncClient) -> None:
    primary = await create_contact(
        client, A, first_name="Ada", tags=["roof"], attributes={"year": 1950}
    )
    other = await create_contact(
        client,
        B,
        last_name="Rossi",
        address={"street": "1 Elm St", "state": "MA"},
        tags=["crack"],
        attributes={"beds": 3},
    )
    roofs = (await client.post("/v1/lists", json={"name": "Roofs"})).json()
    await client.post(f"/v1/lists/{roofs['id']}/contacts", json={"contact_ids": [other["id"]]})
    note = await client.post(f"/v1/contacts/{other['id']}/notes", json={"body": "Hers."})
    task = {"title": "Call", "due_at": "2026-12-01T15:00:00Z"}
    await client.post("/v1/tasks", json={**task, "contact_id": primary["id"]})
    hers = await client.post("/v1/tasks", json={**task, "contact_id": other["id"]})
    merge = await merge_contacts(client, primary, other)

    answer = await undo_merge(client, merge)

    assert answer.status_code == 200
    assert answer.json()["undone_at"] is not None
    assert answer.json()["can_be_undone"] is False
    assert without_update_time(await get_contact(client, primary)) == without_update_time(primary)
    assert without_update_time(await get_contact(client, other)) == without_update_time(other)
    members = (await client.get(f"/v1/lists/{roofs['id']}/contacts")).json()["data"]
    assert [one["id"] for one in members] == [other["id"]]
    notes = (await client.get(f"/v1/contacts/{other['id']}/notes")).json()["data"]
    assert [one["id"] for one in notes] == [note.json()["id"]]
    tasks = (await client.get("/v1/tasks", params={"contact_id": other["id"]})).json()["data"]
    assert [one["id"] for one in tasks] == [hers.json()["id"]]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
async def test_undo_of_all_merges_in_any_order_restores_the_primary(
    client: httpx.AsyncClient, session: AsyncSession, order: tuple[int, ...]
) -> None:
    """Test duplicates that all have the same list, property, tag and attribute."""
    primary = await create_contact(client, A, tags=["mine"])
    shared: dict[str, Any] = {"tags": ["roof"], "attributes": {"beds": 3}}
    others = [await create_contact(client, number(n), **shared) for n in (1, 2, 3)]
    roofs = (await client.post("/v1/lists", json={"name": "Roofs"})).json()
    ids = [one["id"] for one in others]
    await client.post(f"/v1/lists/{roofs['id']}/contacts", json={"contact_ids": ids})
    house = (await client.post("/v1/properties", json={"address": ADDRESS})).json()
    await session.execute(
        text(
            "INSERT INTO property_contact (property_id, contact_id, role, added_at) "
            "SELECT :house, one, 'secondary', now() FROM unnest(CAST(:ids AS uuid[])) one"
        ),
        {"house": house["id"], "ids": ids},
    )
    merges = [await merge_contacts(client, primary, other) for other in others]

    for position, place in enumerate(order):
        kept = await get_contact(client, primary)
        assert kept["tags"] == ["mine", "roof"], position
        await undo_merge(client, merges[place])

    assert without_update_time(await get_contact(client, primary)) == without_update_time(primary)
    members = (await client.get(f"/v1/lists/{roofs['id']}/contacts")).json()["data"]
    assert {one["id"] for one in members} == set(ids)
    owners = await session.scalars(text("SELECT contact_id::text FROM property_contact"))
    assert set(owners) == set(ids)


async def test_undo_moves_a_task_back_with_its_conversation(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    primary, other = await create_contact(client, A), await create_contact(client, B)
    sent = await client.post(
        "/v1/messages", json={"line_id": str(line.id), "to": B, "body": "Hello"}
    )
    merge = await merge_contacts(client, primary, other)
    task = {"title": "Call", "due_at": "2026-12-01T15:00:00Z"}
    conversation = {"conversation_id": sent.json()["conversation_id"]}
    added = (await client.post("/v1/tasks", json=task | conversation)).json()

    await undo_merge(client, merge)

    assert added["contact_id"] == primary["id"]
    after = (await client.get(f"/v1/tasks/{added['id']}")).json()
    assert after["contact_id"] == other["id"]


async def test_undo_keeps_later_edits_of_the_primary(client: httpx.AsyncClient) -> None:
    primary = await create_contact(client, A, tags=["roof"])
    other = await create_contact(
        client, B, last_name="Rossi", company="Elm", tags=["crack"], attributes={"beds": 3, "x": 1}
    )
    merge = await merge_contacts(client, primary, other)
    await client.patch(
        f"/v1/contacts/{primary['id']}",
        json={"last_name": "Verdi", "tags": ["roof", "crack", "new"], "attributes": {"beds": 4}},
    )

    await undo_merge(client, merge)

    left = await get_contact(client, primary)
    assert (left["last_name"], left["company"]) == ("Verdi", None)
    assert left["tags"] == ["roof", "new"]
    assert left["attributes"] == {"beds": 4}
    assert (await get_contact(client, other))["last_name"] == "Rossi"


async def test_merge_moves_properties_and_undo_moves_them_back(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    house = await client.post("/v1/properties", json={"address": ADDRESS})
    await session.execute(
        text(
            "INSERT INTO property_contact (property_id, contact_id, role, added_at) "
            "VALUES (:house, :other, 'secondary', now())"
        ),
        {"house": house.json()["id"], "other": other["id"]},
    )
    owners = text("SELECT contact_id::text, role FROM property_contact")

    merge = await merge_contacts(client, primary, other)
    after = (await session.execute(owners)).all()
    await undo_merge(client, merge)

    assert [tuple(row) for row in after] == [(primary["id"], "secondary")]
    left = (await session.execute(owners)).all()
    assert [tuple(row) for row in left] == [(other["id"], "secondary")]


async def test_undo_of_a_merge_keeps_the_import_of_each_property(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    import_id = new_id()
    building = ImportedProperty(
        street="1 Elm St",
        city="Quincy",
        state="MA",
        postal_code="02169",
        year_built=None,
        property_type=None,
        people=[(B, PropertyRole.PRIMARY)],
    )
    async with new_uow() as uow:
        await import_properties.store_properties(uow, [building], import_id=import_id, now=NOW)
    links = text("SELECT contact_id::text, import_id, role, added_at FROM property_contact")
    before = (await session.execute(links)).all()

    await undo_merge(client, await merge_contacts(client, primary, other))

    assert [tuple(row) for row in before] == [(other["id"], import_id, "primary", NOW)]
    assert (await session.execute(links)).all() == before
    async with new_uow() as uow:
        while await import_properties.undo_some(uow, import_id=import_id):
            pass
    assert (await session.execute(links)).all() == []
    assert (await client.get("/v1/properties")).json()["data"] == []


async def test_undo_moves_later_messages_of_the_old_number_back(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    primary, other = await create_contact(client, A), await create_contact(client, B)
    merge = await merge_contacts(client, primary, other)
    for to in (A, B):
        await client.post("/v1/messages", json={"line_id": str(line.id), "to": to, "body": to})

    before = (await client.get(f"/v1/contacts/{primary['id']}/timeline")).json()["data"]
    await undo_merge(client, merge)

    assert {item["body"] for item in before} == {A, B}
    for one, phone in ((primary, A), (other, B)):
        items = (await client.get(f"/v1/contacts/{one['id']}/timeline")).json()["data"]
        assert [item["body"] for item in items] == [phone]


async def test_undo_removes_no_opt_out(client: httpx.AsyncClient, session: AsyncSession) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    await client.post(f"/v1/contacts/{other['id']}/opt-out", json={"reason": "asked"})
    merge = await merge_contacts(client, primary, other)

    await undo_merge(client, merge)

    assert (await get_contact(client, primary))["opted_out"] is True
    assert (await get_contact(client, other))["opted_out"] is True
    assert len((await session.scalars(text("SELECT id FROM consent_entry"))).all()) == 2


async def test_merge_can_be_undone_only_once(client: httpx.AsyncClient) -> None:
    merge = await merge_contacts(
        client, await create_contact(client, A), await create_contact(client, B)
    )
    await undo_merge(client, merge)

    again = await undo_merge(client, merge)

    assert again.status_code == 409
    assert again.json()["code"] == "merge_undone"


async def test_an_unknown_merge_is_not_found(client: httpx.AsyncClient) -> None:
    read = await client.get(f"/v1/contact-merges/{UNKNOWN_ID}")
    undo = await client.post(f"/v1/contact-merges/{UNKNOWN_ID}/undo")

    assert read.status_code == undo.status_code == 404
    assert undo.json()["code"] == "merge_not_found"


async def test_chain_of_merges_is_undone_from_the_last_merge(client: httpx.AsyncClient) -> None:
    one, two, three = [await create_contact(client, phone, first_name=phone) for phone in (A, B, C)]
    first = await merge_contacts(client, two, one)
    second = await merge_contacts(client, three, two)

    too_early = await undo_merge(client, first)
    last = await undo_merge(client, second)
    middle = await get_contact(client, one)
    then = await undo_merge(client, first)

    assert too_early.status_code == 409
    assert too_early.json()["code"] == "merge_not_undoable"
    assert too_early.json()["reason"] == "merged_again"
    assert last.status_code == then.status_code == 200
    assert middle["id"] == two["id"]
    for contact in (one, two, three):
        assert without_update_time(await get_contact(client, contact)) == without_update_time(
            contact
        )


async def test_first_of_two_merges_into_a_contact_can_be_undone(client: httpx.AsyncClient) -> None:
    primary = await create_contact(client, A)
    one, two = (
        await create_contact(client, B, tags=["roof", "b"]),
        await create_contact(client, C, tags=["roof"]),
    )
    first = await merge_contacts(client, primary, one)
    await merge_contacts(client, primary, two)

    answer = await undo_merge(client, first)

    assert answer.status_code == 200
    assert (await get_contact(client, primary))["tags"] == ["roof"]
    assert (await get_contact(client, two))["id"] == primary["id"]
    assert (await get_contact(client, one))["tags"] == ["roof", "b"]


async def test_deleting_the_primary_deletes_the_duplicates_too(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary, other = (
        await create_contact(client, A),
        await create_contact(client, B, last_name="Rossi"),
    )
    merge = await merge_contacts(client, primary, other)

    await client.delete(f"/v1/contacts/{other['id']}")

    refused = await undo_merge(client, merge)
    created_again = await create_contact(client, B)
    assert (await client.get(f"/v1/contacts/{primary['id']}")).status_code == 404
    assert refused.status_code == 409
    assert refused.json()["reason"] == "contact_deleted"
    assert await session.scalar(select(ContactMerge.snapshot)) is None
    assert created_again["id"] == other["id"]
    assert created_again["last_name"] is None


async def test_primary_may_use_a_merged_number(client: httpx.AsyncClient) -> None:
    primary, other = await create_contact(client, A), await create_contact(client, B)
    merge = await merge_contacts(client, primary, other)

    changed = await client.patch(f"/v1/contacts/{primary['id']}", json={"phone": B})

    refused = await undo_merge(client, merge)
    assert changed.status_code == 200
    assert changed.json()["phone"] == B
    for phone in (A, B):
        found = await client.get(f"/v1/contacts/by-phone/{phone}")
        assert found.json()["id"] == primary["id"]
    assert refused.json()["reason"] == "number_changed"


async def test_other_contact_cannot_use_a_merged_number(client: httpx.AsyncClient) -> None:
    primary, other, third = [await create_contact(client, phone) for phone in (A, B, C)]
    await merge_contacts(client, primary, other)

    response = await client.patch(f"/v1/contacts/{third['id']}", json={"phone": B})

    assert response.status_code == 409
    assert response.json()["code"] == "contact_exists"
    assert response.json()["contact_id"] == primary["id"]


async def test_merges_are_listed_newest_first_and_by_contact(client: httpx.AsyncClient) -> None:
    one, two, three = [await create_contact(client, phone) for phone in (A, B, C)]
    first = await merge_contacts(client, one, two)
    second = await merge_contacts(client, one, three)

    page = (await client.get("/v1/contact-merges", params={"limit": 1})).json()
    rest = (await client.get("/v1/contact-merges", params={"cursor": page["next_cursor"]})).json()
    of_two = (await client.get("/v1/contact-merges", params={"contact_id": two["id"]})).json()
    single = (await client.get(f"/v1/contact-merges/{first['merge_id']}")).json()

    assert [merge["id"] for merge in page["data"]] == [second["merge_id"]]
    assert [merge["id"] for merge in rest["data"]] == [first["merge_id"]]
    assert of_two["data"] == [single]
    assert single["duplicate_ids"] == [two["id"]]
    assert single["can_be_undone"] is True


async def test_a_merge_and_its_undo_are_in_the_audit_log(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    merge = await merge_contacts(
        client, await create_contact(client, A), await create_contact(client, B)
    )
    await undo_merge(client, merge)

    rows = (await session.execute(text("SELECT action, detail FROM audit_log ORDER BY id"))).all()

    assert [row.action for row in rows][-2:] == ["merge_contacts", "undo_merge"]
    assert {row.detail["merge_id"] for row in rows[-2:]} == {merge["merge_id"]}


async def test_the_row_of_a_duplicate_has_no_personal_data(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    primary = await create_contact(client, A)
    other = await create_contact(
        client, B, first_name="Ada", email="ada@example.com", tags=["roof"]
    )

    await merge_contacts(client, primary, other)

    row = (await session.scalars(select(Contact).where(Contact.phone == B))).one()
    await session.refresh(row)
    assert (row.first_name, row.email, row.tags, row.attributes) == (None, None, [], {})
    assert str(row.merged_into) == primary["id"]
    found = await client.get("/v1/contacts", params={"q": "ada@example"})
    assert [one["id"] for one in found.json()["data"]] == [primary["id"]]
