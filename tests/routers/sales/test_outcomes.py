"""Tests of the ledger of outcomes: an outcome is never changed, only reversed by a new row."""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, number

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]
AT = "2026-11-20T15:00:00.000Z"
MISSING = "00000000-0000-7000-8000-000000000000"


async def record_outcome(client: httpx.AsyncClient, *, status: int = 201, **values: Any) -> Any:
    body = {"kind": "job_done", "occurred_at": AT, "amount_cents": 185_000, **values}
    response = await client.post("/v1/outcomes", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def list_outcomes(client: httpx.AsyncClient, **query: Any) -> list[Any]:
    response = await client.get("/v1/outcomes", params=query)
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["data"]
    return found


async def test_outcome_is_recorded_with_its_person(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)

    made = await record_outcome(
        client, contact_id=str(contact.id), external_id="INV-1", source="import"
    )

    assert made["contact_id"] == str(contact.id)
    assert made["phone"] == contact.phone
    assert (made["kind"], made["amount_cents"], made["currency"]) == ("job_done", 185_000, "USD")
    assert (made["source"], made["external_id"]) == ("import", "INV-1")
    assert (made["reverses_id"], made["reversed_by_id"]) == (None, None)
    assert (await client.get(f"/v1/outcomes/{made['id']}")).json() == made
    assert await list_outcomes(client) == [made]


async def test_repeated_external_id_returns_the_first_outcome(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    first = await record_outcome(client, phone=contact.phone, external_id="INV-1")

    again = await record_outcome(
        client, contact_id=str(contact.id), external_id="INV-1", status=200
    )
    other = await record_outcome(client, phone=contact.phone, external_id="INV-1", source="import")

    assert again == first
    assert other["id"] != first["id"]
    for values in (
        {"amount_cents": 1},
        {"occurred_at": "2026-11-21T15:00:00Z"},
        {"kind": "invoice_paid"},
        {"phone": number(9)},
    ):
        asked = {"phone": contact.phone, "external_id": "INV-1", **values}
        refused = await record_outcome(client, status=409, **asked)
        assert (refused["code"], refused["outcome_id"]) == ("outcome_exists", first["id"])


async def test_two_concurrent_requests_record_one_outcome(
    committed_client: httpx.AsyncClient,
) -> None:
    body = {"kind": "job_done", "occurred_at": AT, "phone": number(1), "external_id": "A"}

    answers = await asyncio.gather(
        *(committed_client.post("/v1/outcomes", json=body) for _ in range(4))
    )

    assert sorted(one.status_code for one in answers) == [200, 200, 200, 201]
    assert len({one.json()["id"] for one in answers}) == 1


async def test_outcome_of_an_unknown_number_is_linked_to_a_later_contact(
    client: httpx.AsyncClient,
) -> None:
    made = await record_outcome(client, phone="(617) 555-0177")
    assert (made["contact_id"], made["phone"]) == (None, "+16175550177")

    contact = (await client.post("/v1/contacts", json={"phone": "+16175550177"})).json()

    assert (await list_outcomes(client, contact_id=contact["id"]))[0]["id"] == made["id"]
    await client.delete(f"/v1/contacts/{contact['id']}")
    gone = (await client.get(f"/v1/outcomes/{made['id']}")).json()
    assert (gone["contact_id"], gone["amount_cents"]) == (None, 185_000)
    later = await record_outcome(client, phone="+16175550177")
    await client.post("/v1/contacts", json={"phone": "+16175550177"})
    assert {one["id"] for one in await list_outcomes(client, contact_id=contact["id"])} == {
        made["id"],
        later["id"],
    }


async def test_outcome_follows_a_merge_and_its_undo(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    first, second = await make_contact(session), await make_contact(session, phone=number(2))
    made = await record_outcome(client, contact_id=str(second.id))
    ids = {"primary_id": str(first.id), "duplicate_ids": [str(second.id)]}

    merge = (await client.post("/v1/contacts/merge", json=ids)).json()
    merged = await list_outcomes(client, contact_id=str(first.id))
    by_duplicate = await list_outcomes(client, contact_id=str(second.id))
    await client.post(f"/v1/contact-merges/{merge['merge_id']}/undo")

    assert [one["contact_id"] for one in merged] == [str(first.id)]
    assert by_duplicate == merged
    assert await list_outcomes(client, contact_id=str(first.id)) == []
    assert await list_outcomes(client, contact_id=str(second.id)) == [made]


async def test_erasure_removes_the_person_and_keeps_the_amount(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    made = await record_outcome(client, contact_id=str(contact.id), external_id="INV-617-555-0123")

    erased = await client.post(f"/v1/contacts/{contact.id}/erase", json={"reason": "asked"})

    assert erased.status_code == 202, erased.text
    left = (await client.get(f"/v1/outcomes/{made['id']}")).json()
    assert (left["contact_id"], left["phone"], left["external_id"]) == (None, None, None)
    assert (left["amount_cents"], left["occurred_at"]) == (185_000, AT)
    again = await record_outcome(
        client, phone=number(7), external_id="INV-617-555-0123", status=200
    )
    assert again["id"] == made["id"]


async def test_erasure_removes_an_unknown_number_of_the_person(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    made = await record_outcome(client, phone=contact.phone)
    await session.execute(
        text("UPDATE outcome_subject SET contact_id = NULL, phone = :phone"),
        {"phone": contact.phone},
    )
    await session.commit()

    await client.post(f"/v1/contacts/{contact.id}/erase", json={"reason": "asked"})

    assert (await client.get(f"/v1/outcomes/{made['id']}")).json()["phone"] is None


async def test_reversal_is_a_row_with_the_negative_amount(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    made = await record_outcome(client, contact_id=str(contact.id))
    kept = await record_outcome(client, contact_id=str(contact.id), amount_cents=None)

    response = await client.post(f"/v1/outcomes/{made['id']}/reverse")

    reversal = response.json()
    assert response.status_code == 201
    assert (reversal["reverses_id"], reversal["amount_cents"]) == (made["id"], -185_000)
    assert reversal["contact_id"] == str(contact.id)
    first = (await client.get(f"/v1/outcomes/{made['id']}")).json()
    assert first["reversed_by_id"] == reversal["id"]
    assert await list_outcomes(client, reversed=False) == [kept]
    assert len(await list_outcomes(client, reversed=True)) == 2
    twice = await client.post(f"/v1/outcomes/{made['id']}/reverse")
    assert (twice.status_code, twice.json()["code"]) == (409, "outcome_reversed")
    assert twice.json()["outcome_id"] == reversal["id"]
    back = await client.post(f"/v1/outcomes/{reversal['id']}/reverse")
    assert (back.status_code, back.json()["code"]) == (409, "outcome_is_reversal")
    none = await client.post(f"/v1/outcomes/{MISSING}/reverse")
    assert (none.status_code, none.json()["code"]) == (404, "outcome_not_found")


@pytest.mark.parametrize(
    "statement", ["UPDATE outcome SET amount_cents = 1", "DELETE FROM outcome"]
)
async def test_ledger_is_append_only(
    client: httpx.AsyncClient, session: AsyncSession, statement: str
) -> None:
    await record_outcome(client, phone=number(1))

    with pytest.raises(DBAPIError, match="outcome is append-only"):
        await session.execute(text(statement))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"currency": "EUR"}, "other_currency"),
        ({"phone": None}, "outcome_person"),
        ({"contact_id": MISSING}, "outcome_person"),
        ({"kind": "custom"}, "outcome_name"),
        ({"name": "Referral"}, "outcome_name"),
        ({"amount_cents": -1}, "validation_failed"),
        ({"amount_cents": 10.0}, "validation_failed"),
        ({"amount_cents": "10"}, "validation_failed"),
        ({"kind": "sale"}, "validation_failed"),
        ({"occurred_at": "2026-11-20"}, "validation_failed"),
        ({"source": "quickbooks"}, "validation_failed"),
        ({"external_id": "x" * 201}, "validation_failed"),
    ],
)
async def test_invalid_outcome_is_refused(
    client: httpx.AsyncClient, values: dict[str, Any], code: str
) -> None:
    refused = await record_outcome(client, status=422, **{"phone": number(1), **values})

    assert refused["code"] == code
    assert refused["errors"]
    assert await list_outcomes(client) == []


async def test_contact_and_property_must_exist(client: httpx.AsyncClient) -> None:
    contact = await record_outcome(client, contact_id=MISSING, status=404)
    house = await record_outcome(client, phone=number(1), property_id=MISSING, status=404)

    assert (contact["code"], house["code"]) == ("contact_not_found", "property_not_found")


async def test_outcomes_are_filtered(client: httpx.AsyncClient) -> None:
    await record_outcome(client, phone=number(1), kind="custom", name="Referral", source="person")
    await record_outcome(client, phone=number(1), occurred_at="2026-10-01T04:00:00Z")

    async def kinds(**query: Any) -> list[str]:
        return [one["kind"] for one in await list_outcomes(client, **query)]

    assert await kinds() == ["custom", "job_done"]
    assert await kinds(kind="custom") == ["custom"]
    assert await kinds(source="api") == ["job_done"]
    assert await kinds(occurred_before="2026-11-01T00:00:00Z") == ["job_done"]
    zone = {"timezone": "America/New_York"}
    assert await kinds(occurred_after="2026-10-01", **zone) == ["custom", "job_done"]
    assert await kinds(occurred_after="2026-10-02", **zone) == ["custom"]


async def test_list_is_also_a_table(client: httpx.AsyncClient, key_with: KeyWith) -> None:
    for place, name in enumerate(("Referred", "=1+1")):
        body = {"kind": "custom", "name": name, "phone": number(place), "amount_cents": 100 + place}
        when = {"occurred_at": f"2026-11-2{place}T15:00:00Z"}
        assert (await client.post("/v1/outcomes", json={**body, **when})).status_code == 201
    as_csv = {"Accept": "text/csv"}
    own = await key_with(Scope.INSIGHT_READ)

    table = await client.get("/v1/outcomes", headers=as_csv)
    some = await client.get("/v1/outcomes", params={"source": "person"}, headers=as_csv)
    hidden = await client.get("/v1/outcomes", headers={**as_csv, **own})

    found = list(csv.DictReader(io.StringIO(table.text)))
    assert [(one["name"], one["phone"], one["amount_cents"]) for one in found] == [
        ("'=1+1", number(1), "101"),
        ("Referred", number(0), "100"),
    ]
    assert found[0]["occurred_at"] == "2026-11-21T15:00:00.000Z"
    assert (found[0]["contact_id"], found[0]["reverses_id"]) == ("", "")
    assert some.text.count("\n") == 1
    assert number(1) not in hidden.text
    assert hidden.text.count("\n") == 3


async def test_caller_without_the_contacts_scope_sees_no_person(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    contact = await make_contact(session, phone=number(1), first_name="Ada", last_name="Bell")
    made = await record_outcome(client, contact_id=str(contact.id), external_id="INV-1")
    headers = await key_with(Scope.INSIGHT_READ)

    seen = (await client.get(f"/v1/outcomes/{made['id']}", headers=headers)).json()

    named = ("contact_id", "phone", "first_name", "last_name", "external_id")
    assert [made[one] for one in named] == [str(contact.id), number(1), "Ada", "Bell", "INV-1"]
    assert [seen[one] for one in named] == [None] * 5
    assert seen["amount_cents"] == 185_000


async def test_ledger_is_a_csv_file_with_the_filters_of_the_list(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    made = await record_outcome(client, contact_id=str(contact.id), external_id="=1+1")
    await record_outcome(client, phone=number(2), kind="quote_sent", amount_cents=None)
    await client.post(f"/v1/outcomes/{made['id']}/reverse")

    answer = await client.get(
        "/v1/outcomes", params={"kind": "job_done"}, headers={"Accept": "text/csv"}
    )

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["amount_cents"] for row in rows] == ["-185000", "185000"]
    assert {row["kind"] for row in rows} == {"job_done"}
    assert rows[1]["reversed_by_id"] == rows[0]["id"]
    assert (rows[1]["phone"], rows[1]["external_id"]) == (contact.phone, "'=1+1")


async def test_csv_without_the_contacts_scope_leaves_out_the_person(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    contact = await make_contact(session)
    await record_outcome(client, contact_id=str(contact.id), external_id="INV-1")

    headers = {**await key_with(Scope.INSIGHT_READ), "Accept": "text/csv"}
    answer = await client.get("/v1/outcomes", headers=headers)

    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["contact_id"], row["phone"], row["external_id"]) == ("", "", "")
