"""The timeline of a contact shows appointments, quotes, invoices and outcomes."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.factories import number

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]
SALES: dict[str, dict[str, Any]] = {
    "appointment": {
        "kind": "repair",
        "starts_at": "2036-01-07T15:00:00Z",
        "ends_at": "2036-01-07T16:00:00Z",
    },
    "quote": {"number": "Q-1", "amount_cents": 185_000, "status": "draft"},
    "invoice": {"number": "INV-1", "amount_cents": 90_000, "status": "open"},
}


async def create(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def create_contact_with_sales(client: httpx.AsyncClient) -> str:
    person = await create(client, "/v1/contacts", {"phone": number(1), "first_name": "Ada"})
    for kind, values in SALES.items():
        await create(client, f"/v1/{kind}s", {"contact_id": person["id"], **values})
    job = {"kind": "job_done", "amount_cents": 185_000, "occurred_at": "2026-11-20T15:00:00Z"}
    outcome = await create(client, "/v1/outcomes", {**job, "contact_id": person["id"]})
    await create(client, f"/v1/outcomes/{outcome['id']}/reverse", {})
    return str(person["id"])


async def timeline(client: httpx.AsyncClient, contact_id: str, **options: Any) -> list[Any]:
    answer = await client.get(f"/v1/contacts/{contact_id}/timeline", **options)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


async def test_sales_and_outcomes_are_in_the_timeline(client: httpx.AsyncClient) -> None:
    contact_id = await create_contact_with_sales(client)

    items = await timeline(client, contact_id)

    assert [one["type"] for one in items] == [
        "appointment",
        "invoice",
        "quote",
        "outcome",
        "outcome",
    ]
    visit, invoice, quote, booked, job = items
    assert (visit["at"], visit["kind"], visit["status"]) == (
        "2036-01-07T15:00:00.000Z",
        "repair",
        "booked",
    )
    assert (booked["kind"], booked["reversed"]) == ("appointment_booked", False)
    assert (invoice["number"], invoice["amount_cents"], invoice["status"]) == (
        "INV-1",
        90_000,
        "open",
    )
    assert (quote["number"], quote["currency"], quote["status"]) == ("Q-1", "USD", "draft")
    assert (job["kind"], job["amount_cents"], job["reversed"]) == ("job_done", 185_000, True)


async def test_pages_of_the_timeline_hold_each_entry_once(client: httpx.AsyncClient) -> None:
    contact_id = await create_contact_with_sales(client)
    unpaged = await timeline(client, contact_id)

    found: list[Any] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = await client.get(f"/v1/contacts/{contact_id}/timeline", params=params)
        found += answer.json()["data"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break

    assert found == unpaged


@pytest.mark.parametrize(
    ("scopes", "types"),
    [
        ((Scope.CONTACTS_READ,), set()),
        ((Scope.CONTACTS_READ, Scope.SALES_READ), {"appointment", "quote", "invoice"}),
        ((Scope.CONTACTS_READ, Scope.INSIGHT_READ), {"outcome"}),
    ],
)
async def test_entries_are_shown_only_with_their_scope(
    client: httpx.AsyncClient, key_with: KeyWith, scopes: tuple[Scope, ...], types: set[str]
) -> None:
    contact_id = await create_contact_with_sales(client)

    items = await timeline(client, contact_id, headers=await key_with(*scopes))

    assert {one["type"] for one in items} == types


async def test_outcomes_of_a_merged_duplicate_are_in_the_timeline(
    client: httpx.AsyncClient,
) -> None:
    contact_id = await create_contact_with_sales(client)
    primary = await create(client, "/v1/contacts", {"phone": number(2)})
    ids = {"primary_id": primary["id"], "duplicate_ids": [contact_id]}
    assert (await client.post("/v1/contacts/merge", json=ids)).is_success

    items = await timeline(client, primary["id"])

    assert sorted(one["type"] for one in items) == [
        *("appointment", "invoice", "outcome", "outcome", "quote"),
    ]
