"""Tests of the provider's stop list, and of entries that contradict the stored consent."""

import httpx
import pytest
from tests.conftest import UNKNOWN_ID
from tests.domain.messaging.provider_stops.test_failure_learning import (
    fail,
    flags,
    learn,
    opt_in,
    report_app_failure,
)
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts
from tests.factories import number

from crm_api.platform.database import UnitOfWorkFactory

STOPS = "/v1/provider-stops"


async def _list_stops(client: httpx.AsyncClient, **query: str) -> list[dict[str, object]]:
    answer = await client.get(STOPS, params=query)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, object]] = answer.json()["data"]
    return data


async def test_number_that_opted_in_again_is_a_disagreement_until_it_is_resolved(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    await fail(ledger, "21610", message_id="AC1")
    await learn(new_uow)
    (message,) = await ledger.messages()
    member = await ledger.recipient()

    agreed = await _list_stops(client, status="agreed")
    none_open = await _list_stops(client)
    async with new_uow() as uow:
        await opt_in(uow, seconds=200)
    (open_one,) = await _list_stops(client)
    path = f"{STOPS}/{open_one['id']}/resolve"
    resolved = await client.post(path, json={"note": "The person texted START."})
    again = await client.post(path)

    assert [one["phone"] for one in agreed] == [number(0)]
    assert none_open == []
    assert open_one["status"] == "open"
    assert open_one["contact_id"] == str(member.contact_id)
    assert (open_one["message_id"], open_one["error_code"]) == (str(message.id), "21610")
    assert resolved.status_code == 200, resolved.text
    assert (resolved.json()["status"], resolved.json()["note"]) == (
        "resolved",
        "The person texted START.",
    )
    assert again.json() == resolved.json()
    assert await _list_stops(client) == []
    assert await flags(ledger) == set()
    decided = "SELECT DISTINCT subject FROM audit_log WHERE action = 'resolve_provider_stop'"
    assert [row.subject for row in await ledger.rows(decided)] == [open_one["id"]]


async def test_next_refusal_creates_a_new_entry_and_opts_out_again(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    await report_app_failure(ledger, "21610", message_id="AC1")
    await learn(new_uow)
    async with new_uow() as uow:
        await opt_in(uow, seconds=200)
    (first,) = await _list_stops(client)
    await client.post(f"{STOPS}/{first['id']}/resolve", json={})

    await report_app_failure(ledger, "21610", message_id="AC2", seconds=300)
    await learn(new_uow, seconds=301)

    (second,) = await _list_stops(client, status="agreed")
    assert second["id"] != first["id"]
    assert await flags(ledger) == {"opted_out"}


async def test_later_delivery_ends_the_disagreement(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    await report_app_failure(ledger, "21610", message_id="AC1")
    await learn(new_uow)
    async with new_uow() as uow:
        await opt_in(uow, seconds=200)
    await ledger.run("UPDATE campaign_membership SET status = 'pending', skip_reason = NULL")
    (claimed,) = await ledger.begin_calls(now=after(300))
    await ledger.accept(claimed, "AC2", at=after(301), now=after(301))
    await ledger.report(
        message_facts("delivered", message_id="AC2", at=after(301), updated_at=after(305)),
        now=after(305),
    )

    assert await _list_stops(client) == []
    assert [one["status"] for one in await _list_stops(client, status="recovered")] == ["recovered"]


async def test_list_is_paged_and_filtered_by_number(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    for claimed in await ledger.begin_calls():
        await ledger.accept(claimed, f"AC{claimed.phone}")
        await ledger.report(
            message_facts(
                "failed",
                message_id=f"AC{claimed.phone}",
                phone=claimed.phone,
                updated_at=after(5),
                error_code="21610",
            ),
            now=after(5),
        )
    await learn(new_uow)

    first = (await client.get(STOPS, params={"status": "agreed", "limit": "2"})).json()
    query = {"status": "agreed", "limit": "2", "cursor": first["next_cursor"]}
    second = (await client.get(STOPS, params=query)).json()
    found = await _list_stops(client, status="agreed", phone=number(1))

    phones = [one["phone"] for one in first["data"] + second["data"]]
    assert (len(first["data"]), sorted(phones)) == (2, [number(place) for place in range(3)])
    assert second["next_cursor"] is None
    assert [one["phone"] for one in found] == [number(1)]


@pytest.mark.parametrize("body", [{"note": ""}, {"note": "x" * 1001}, {"other": 1}])
async def test_invalid_note_of_a_resolution_is_refused(
    client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    answer = await client.post(f"{STOPS}/{UNKNOWN_ID}/resolve", json=body)

    assert answer.status_code == 422


async def test_unknown_entry_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{STOPS}/{UNKNOWN_ID}/resolve", json={"note": "x"})

    assert (answer.status_code, answer.json()["code"]) == (404, "provider_stop_not_found")
