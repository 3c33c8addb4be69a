"""Tests of batches: each item has its own result, and an invalid item affects no other item."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from benchmarks.statements import StatementCounter
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member, number

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.batch import service as batch
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.ids import new_id

PATH = "/v1/contacts/batch"
UNKNOWN_CONTACT = "00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def send(client: httpx.AsyncClient, *items: Any) -> Any:
    response = await client.post(PATH, json={"items": list(items)})
    assert response.status_code == 200, response.text
    return response.json()


def statuses(answer: Any) -> list[int]:
    assert [one["index"] for one in answer["results"]] == list(range(len(answer["results"])))
    return [one["status"] for one in answer["results"]]


def upsert(position: int, **fields: Any) -> dict[str, Any]:
    return {"op": "upsert", "contact": {"phone": number(position)} | fields}


def create(position: int, **fields: Any) -> dict[str, Any]:
    return {"op": "create", "contact": {"phone": number(position)} | fields}


def update(contact_id: Any, **fields: Any) -> dict[str, Any]:
    return {"op": "update", "id": str(contact_id), "contact": fields}


def delete(contact_id: Any) -> dict[str, Any]:
    return {"op": "delete", "id": str(contact_id)}


async def get_contact(client: httpx.AsyncClient, contact_id: str) -> Any:
    return (await client.get(f"/v1/contacts/{contact_id}")).json()


async def test_missing_key_and_scope_are_refused(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    reader = await client.post(
        PATH, json={"items": []}, headers=await key_with(Scope.CONTACTS_READ)
    )
    del client.headers["Authorization"]

    assert reader.status_code == 403
    assert (await client.post(PATH, json={"items": []})).status_code == 401


@pytest.mark.parametrize("count", [0, 501])
async def test_batch_has_from_1_to_500_items(client: httpx.AsyncClient, count: int) -> None:
    answer = await client.post(PATH, json={"items": [delete(UNKNOWN_CONTACT)] * count})

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/items"]


async def test_each_item_has_the_result_of_a_single_request(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0), attributes={"roof": "slate"}, tags=["vip"])
    leo = await make_contact(session, phone=number(1), first_name="Leo")
    session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))
    await session.flush()

    answer = await send(
        client,
        create(2, first_name="Mia", address={"city": "Quincy"}, attributes={"a": 1}),
        update(ada.id, last_name="Rossi", attributes={"year": 1987}),
        upsert(0, email="ada@example.com", attributes={"roof": None}),
        upsert(3, first_name="Ben", attributes={"a": None, "b": 2}),
        delete(leo.id),
    )

    assert statuses(answer) == [201, 200, 200, 201, 204]
    assert (answer["succeeded"], answer["failed"]) == (5, 0)
    results = [one["contact"] for one in answer["results"]]
    assert results[0] == await get_contact(client, results[0]["id"])
    assert results[0]["address"]["city"] == "Quincy"
    assert (results[1]["last_name"], results[1]["email"]) == ("Rossi", None)
    assert results[1]["attributes"] == {"roof": "slate", "year": 1987}
    assert results[2] == await get_contact(client, str(ada.id))
    assert (results[2]["last_name"], results[2]["email"]) == ("Rossi", "ada@example.com")
    assert results[2]["attributes"] == {"year": 1987}
    assert (results[2]["opted_out"], results[2]["flags"]) == (True, ["opted_out"])
    assert (results[2]["tags"], results[2]["first_name"]) == (["vip"], "Ada")
    assert results[3] == await get_contact(client, results[3]["id"])
    assert results[3]["attributes"] == {"b": 2}
    assert results[4] is None
    assert (await client.get(f"/v1/contacts/{leo.id}")).status_code == 404


async def test_invalid_items_fail_alone_with_their_problems(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await client.post("/v1/custom-fields", json={"name": "year", "type": "integer"})
    ada = await make_contact(session, phone=number(0))

    answer = await send(
        client,
        upsert(1, first_name="Ben"),
        create(0),
        {"op": "create", "contact": {"phone": "12"}},
        {"op": "update", "id": UNKNOWN_CONTACT, "contact": {"first_name": "x"}},
        delete(UNKNOWN_CONTACT),
        upsert(2, attributes={"year": "old"}),
        update(ada.id, attributes={"year": "old"}),
        {"op": "merge", "id": UNKNOWN_CONTACT},
        {"op": "delete"},
        "nonsense",
        upsert(3, first_nam="x"),
        upsert(4, attributes={"year": "1987"}),
    )

    assert statuses(answer) == [201, 409, 422, 404, 404, 422, 422, 422, 422, 422, 422, 201]
    assert (answer["succeeded"], answer["failed"]) == (2, 10)
    problems = [one["problem"] for one in answer["results"]]
    assert problems[1]["code"] == "contact_exists"
    assert problems[1]["contact_id"] == str(ada.id)
    assert problems[1]["instance"] == PATH
    assert [one["code"] for one in problems[3:5]] == ["contact_not_found"] * 2
    pointers = [
        [(fault["pointer"], fault["code"]) for fault in one["errors"]]
        for one in problems
        if one and one["status"] == 422
    ]
    assert pointers == [
        [("/items/2/contact/phone", "invalid_phone")],
        [("/items/5/contact/attributes/year", "not_integer")],
        [("/items/6/contact/attributes/year", "not_integer")],
        [("/items/7/op", "union_tag_invalid")],
        [("/items/8/id", "missing")],
        [("/items/9", "model_attributes_type")],
        [("/items/10/contact/first_nam", "unknown_field")],
    ]
    assert answer["results"][11]["contact"]["attributes"] == {"year": 1987}
    assert (await get_contact(client, str(ada.id)))["attributes"] == {}


async def test_items_for_one_number_are_applied_in_order(client: httpx.AsyncClient) -> None:
    answer = await send(
        client,
        upsert(0, first_name="Ada", tags=["a"]),
        upsert(0, last_name="Rossi"),
        create(0, first_name="Leo"),
        upsert(0, first_name="Eva", tags=["b"]),
    )

    assert statuses(answer) == [201, 200, 409, 200]
    first, second, third, last = answer["results"]
    assert third["problem"]["contact_id"] == first["contact"]["id"]
    fields = [
        (one["contact"]["first_name"], one["contact"]["last_name"], one["contact"]["tags"])
        for one in (first, second, last)
    ]
    assert fields == [("Ada", None, ["a"]), ("Ada", "Rossi", ["a"]), ("Eva", "Rossi", ["b"])]
    assert last["contact"] == await get_contact(client, first["contact"]["id"])


async def test_number_that_is_deleted_and_added_again_keeps_its_id(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0), last_name="Rossi")
    homeowners = await make_list(session, contacts=[ada])

    answer = await send(client, delete(ada.id), delete(ada.id), create(0, first_name="Eva"))
    again = await send(client, delete(ada.id))
    revived = await send(client, upsert(0, first_name="Ida"))

    assert statuses(answer) == [204, 404, 201]
    found = answer["results"][2]["contact"]
    assert (found["id"], found["first_name"], found["last_name"]) == (str(ada.id), "Eva", None)
    assert statuses(again) == [204]
    assert statuses(revived) == [201]
    assert revived["results"][0]["contact"] == await get_contact(client, str(ada.id))
    members = await client.get(f"/v1/lists/{homeowners.id}/contacts")
    assert members.json()["data"] == []


async def test_contact_restored_and_deleted_in_one_batch_is_not_found(
    client: httpx.AsyncClient,
) -> None:
    made = await send(client, upsert(0, first_name="Ada"))
    contact_id = made["results"][0]["contact"]["id"]

    answer = await send(client, upsert(1), delete(contact_id), upsert(0), delete(contact_id))

    assert statuses(answer) == [201, 204, 201, 204]
    assert (await client.get(f"/v1/contacts/{contact_id}")).status_code == 404


async def test_update_of_the_number_changes_the_number_of_the_recipient(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0))
    await make_contact(session, phone=number(1))
    campaign = await make_campaign(session, line=await make_line(session))
    member = await make_member(session, campaign=campaign, contact=ada)

    answer = await send(
        client,
        update(ada.id, first_name="Eva"),
        update(ada.id, phone=number(1)),
        update(ada.id, phone=number(2)),
        upsert(2, last_name="Rossi"),
        upsert(0, first_name="Leo"),
    )

    assert statuses(answer) == [200, 409, 200, 200, 201]
    renumbered, other = answer["results"][3]["contact"], answer["results"][4]["contact"]
    assert renumbered == await get_contact(client, str(ada.id))
    assert (renumbered["phone"], renumbered["first_name"]) == (number(2), "Eva")
    assert renumbered["last_name"] == "Rossi"
    assert other["id"] != str(ada.id)
    await session.refresh(member)
    assert member.phone == number(2)


async def test_batch_moves_recipients_to_new_time_zones_and_skips_deleted_contacts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0))
    leo = await make_contact(session, phone=number(1))
    eve = await make_contact(
        session, phone=number(2), state="CA", zone_key="CA/America/Los_Angeles"
    )
    campaign = await make_campaign(session, line=await make_line(session))
    for contact in (ada, leo):
        await make_member(session, campaign=campaign, contact=contact)
    await make_member(session, campaign=campaign, contact=eve, status="sending")

    await send(
        client,
        upsert(0, address={"state": "CA", "postal_code": "90001"}),
        delete(leo.id),
        delete(eve.id),
    )

    rows = await session.execute(
        select(
            CampaignMembership.zone_key, CampaignMembership.status, CampaignMembership.skip_reason
        ).order_by(CampaignMembership.phone),
        execution_options={"populate_existing": True},
    )
    moved, skipped, under_way = rows.all()
    assert "America/Los_Angeles" in moved.zone_key
    assert moved.status == "pending"
    assert (skipped.status, skipped.skip_reason) == ("skipped", "contact_deleted")
    assert (under_way.status, under_way.zone_key) == ("sending", "MA/America/New_York")
    await session.refresh(campaign)
    assert {moved.zone_key, under_way.zone_key} <= set(campaign.zone_keys)


async def test_recipient_under_way_gets_the_zone_of_a_restored_contact(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0))
    campaign = await make_campaign(session, line=await make_line(session))
    member = await make_member(session, campaign=campaign, contact=ada, status="sending")
    await send(client, delete(ada.id))

    await send(client, create(0, address={"state": "HI", "postal_code": "96813"}))

    await session.refresh(member)
    assert "Pacific/Honolulu" in member.zone_key
    await session.refresh(campaign)
    assert member.zone_key in campaign.zone_keys


async def test_item_without_a_change_changes_nothing(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0), attributes={"a": 1})

    answer = await send(client, upsert(0, first_name="Ada", attributes={"a": 1}))

    assert statuses(answer) == [200]
    assert answer["results"][0]["contact"]["updated_at"].startswith(f"{NOW:%Y-%m-%dT%H:%M}")
    await session.refresh(ada)
    assert ada.updated_at == NOW


async def test_attribute_faults_point_to_their_item(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await client.post(
        "/v1/custom-fields", json={"name": "year", "type": "integer", "required": True}
    )
    ada = await make_contact(session, phone=number(0), attributes={"a": "x" * 9_000})

    answer = await send(
        client, upsert(1), create(2), update(ada.id, attributes={"b": "x" * 9_000}), upsert(0)
    )

    assert statuses(answer) == [422, 422, 422, 200]
    assert [one["problem"]["errors"][0]["pointer"] for one in answer["results"][:3]] == [
        "/items/0/contact/attributes/year",
        "/items/1/contact/attributes/year",
        "/items/2/contact/attributes",
    ]


async def test_batch_with_the_same_idempotency_key_is_not_repeated(
    client: httpx.AsyncClient,
) -> None:
    body = {"items": [create(0, first_name="Ada"), create(0)]}
    headers = {"Idempotency-Key": "batch-1"}

    first = await client.post(PATH, json=body, headers=headers)
    again = await client.post(PATH, json=body, headers=headers)

    assert statuses(first.json()) == [201, 409]
    assert again.json() == first.json()


FEW, MANY = 20, 500
MOST_STATEMENTS = 21
"""Largest number of statements for a batch, including API key and savepoint."""


async def count_statements(
    client: httpx.AsyncClient, engine: AsyncEngine, items: list[Any]
) -> tuple[Counter[str], list[int]]:
    counter = StatementCounter(engine)
    answer = await send(client, *items)
    counter.close()
    return counter.counts, statuses(answer)


async def test_number_of_statements_does_not_grow_with_the_items(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    place = {"address": {"state": "CA"}}
    small, found = await count_statements(client, engine, [upsert(i) for i in range(FEW)])
    large, _ = await count_statements(client, engine, [upsert(1_000 + i) for i in range(MANY)])
    half = [upsert(1_000 + i, first_name="A", **place) for i in range(250)]
    mixed, kinds = await count_statements(
        client, engine, [*half, *(upsert(5_000 + i) for i in range(250))]
    )

    assert set(found) == {201}
    assert Counter(kinds) == {200: 250, 201: 250}
    assert small.total() == large.total() <= MOST_STATEMENTS
    assert mixed.total() <= MOST_STATEMENTS
    assert mixed["update_contacts"] == mixed["insert_contacts"] == 1


async def test_deletes_of_a_batch_need_few_statements(
    client: httpx.AsyncClient, engine: AsyncEngine, session: AsyncSession
) -> None:
    await send(client, *(upsert(i) for i in range(MANY)))
    ids = list(await session.scalars(select(Contact.id)))

    statements, found = await count_statements(client, engine, [delete(one) for one in ids])

    assert set(found) == {204}
    assert statements.total() <= MOST_STATEMENTS
    left = await session.execute(text("SELECT count(*) FROM contact WHERE deleted_at IS NULL"))
    assert left.scalar_one() == 0


async def test_number_added_by_a_concurrent_request_is_found(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that a batch finds a number that is added between its read and its write."""
    lock_contacts = batch.lock_contacts
    calls = 0

    async def lock_then_insert_elsewhere(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await lock_contacts(*args, **kwargs)
        if calls == 1:
            async with committed_db.begin() as connection:
                await connection.execute(
                    text(
                        "INSERT INTO contact (id, phone, last_name, zone_key, created_at, "
                        "updated_at) VALUES (:id, :phone, 'Rossi', 'MA/America/New_York', :now, "
                        ":now)"
                    ),
                    {"id": new_id(), "phone": number(1), "now": NOW},
                )
        return found

    monkeypatch.setattr(batch, "lock_contacts", lock_then_insert_elsewhere)

    answer = await send(committed_client, upsert(0), upsert(1, first_name="Ada"))

    assert calls == 2
    assert statuses(answer) == [201, 200]
    found = answer["results"][1]["contact"]
    assert (found["first_name"], found["last_name"]) == ("Ada", "Rossi")


async def test_batch_that_loses_every_race_is_503(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def insert_nothing(*_args: Any, **_kwargs: Any) -> int:
        return 0

    monkeypatch.setattr(batch, "insert_contacts", insert_nothing)

    answer = await client.post(PATH, json={"items": [upsert(0)]})

    assert (answer.status_code, answer.json()["code"]) == (503, "batch_raced")


async def test_merged_duplicate_is_found_by_its_id_and_number(client: httpx.AsyncClient) -> None:
    made = await send(client, create(0, first_name="Ada"), create(1, last_name="Rossi"))
    primary, duplicate = (one["contact"]["id"] for one in made["results"])
    merged = {"primary_id": primary, "duplicate_ids": [duplicate]}
    assert (await client.post("/v1/contacts/merge", json=merged)).status_code == 200

    answer = await send(
        client,
        upsert(1, company="Granite"),
        create(1),
        update(duplicate, email="ada@example.com"),
        update(duplicate, phone=number(1)),
        upsert(0, timezone="America/Chicago"),
    )

    assert statuses(answer) == [200, 409, 200, 200, 200]
    assert answer["results"][1]["problem"]["contact_id"] == primary
    assert answer["results"][0]["contact"]["phone"] == number(0)
    last = answer["results"][4]["contact"]
    assert last == await get_contact(client, primary)
    assert (last["id"], last["phone"], last["company"]) == (primary, number(1), "Granite")
    assert (last["email"], last["timezone"]) == ("ada@example.com", "America/Chicago")


async def test_duplicate_of_a_deleted_contact_is_not_found(client: httpx.AsyncClient) -> None:
    made = await send(client, create(0, first_name="Ada"), create(1, last_name="Rossi"))
    primary, duplicate = (one["contact"]["id"] for one in made["results"])
    merged = {"primary_id": primary, "duplicate_ids": [duplicate]}
    await client.post("/v1/contacts/merge", json=merged)

    answer = await send(client, delete(duplicate), update(duplicate), upsert(1, first_name="Eva"))

    assert statuses(answer) == [204, 404, 201]
    found = answer["results"][2]["contact"]
    assert (found["id"], found["first_name"], found["last_name"]) == (duplicate, "Eva", None)
    assert found == await get_contact(client, duplicate)
    assert (await client.get(f"/v1/contacts/{primary}")).status_code == 404


async def test_concurrent_batches_of_the_same_numbers_create_each_contact_once(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    forward = [upsert(i, first_name=f"A{i}") for i in range(60)]
    backward = [upsert(i, last_name=f"B{i}") for i in reversed(range(60))]

    answers = await asyncio.gather(
        *(send(committed_client, *items) for items in (forward, backward, forward, backward))
    )

    found = Counter(status for answer in answers for status in statuses(answer))
    assert found == {201: 60, 200: 180}
    async with committed_db.connect() as connection:
        rows = await connection.execute(text("SELECT first_name, last_name FROM contact"))
        assert {(one.first_name[0], one.last_name[0]) for one in rows} == {("A", "B")}
