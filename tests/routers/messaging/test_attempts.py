"""The API shows messages with several attempts, and skipped steps of campaigns."""

from datetime import timedelta
from typing import Any

import httpx
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts
from tests.domain.messaging.sends.test_follow_ups import open_with_first_sent
from tests.factories import number

from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

DAY = timedelta(days=1)
PUBLIC = {
    "queued",
    "sending",
    "unknown",
    "sent",
    "delivered",
    "failed",
    "undelivered",
    "received",
}


async def _messages(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    (conversation,) = (await client.get("/v1/conversations")).json()["data"]
    found = (await client.get(f"/v1/conversations/{conversation['id']}/messages")).json()["data"]
    return list(found)


async def test_message_shows_its_attempts(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    (first,) = await ledger.begin_calls()
    await ledger.answer(first, ResponseKind.LATER, http_status=429, now=after(1))
    await ledger.claim(now=after(3))
    (waiting,) = await _messages(client)
    await ledger.expire(now=after(100))
    (second,) = await ledger.begin_calls(now=NOW + DAY)
    await ledger.accept(second, at=NOW + DAY, now=NOW + DAY)
    await ledger.report(message_facts("delivered", at=NOW + DAY), now=NOW + DAY)

    (one,) = await _messages(client)

    assert [(each["outcome"], each["error_code"]) for each in one["attempts"]] == [
        ("not_sent", "http_429"),
        ("delivered", None),
    ]
    assert [each["at"] for each in one["attempts"]] == [
        "2026-11-25T15:00:00.000Z",
        "2026-11-26T15:00:00.000Z",
    ]
    assert (one["id"], one["status"]) == (waiting["id"], "delivered")
    assert (await client.get(f"/v1/messages/{one['id']}")).json() == one


async def test_timeline_and_csv_show_one_message(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    between = await _messages(client)
    (second,) = await ledger.begin_calls(now=after(900))
    await ledger.accept(second, at=after(900), now=after(901))
    contact_id = (await ledger.recipient()).contact_id

    items = (await client.get(f"/v1/contacts/{contact_id}/timeline")).json()["data"]
    (conversation,) = (await client.get("/v1/conversations")).json()["data"]
    csv = await client.get(
        f"/v1/conversations/{conversation['id']}/messages", headers={"Accept": "text/csv"}
    )

    assert {one["status"] for one in between} <= PUBLIC
    assert [one["status"] for one in items if one["type"] == "message"] == ["sent"]
    assert len(csv.text.strip().splitlines()) == 2
    assert "released" not in csv.text


async def test_timeline_shows_a_skipped_step_at_the_time_of_the_skip(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await open_with_first_sent(new_uow)
    contact_id = (await ledger.recipients())[0].contact_id
    await ledger.flag("opted_out")
    async with new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1800))

    items = (await client.get(f"/v1/contacts/{contact_id}/timeline")).json()["data"]

    steps = {one["step"]: one["at"] for one in items if one["type"] == "campaign_step"}
    assert steps == {0: "2026-11-25T15:00:00.000Z", 1: "2026-11-25T15:30:00.000Z"}
