from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.domain.inbound.webhook_events.support import rows, store
from tests.domain.provider.openphone.samples import sample
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/webhook-events", Scope.WEBHOOKS_READ),
        ("GET", f"/v1/webhook-events/{UNKNOWN_ID}", Scope.WEBHOOKS_READ),
        ("POST", f"/v1/webhook-events/{UNKNOWN_ID}/replay", Scope.WEBHOOKS_WRITE),
    ],
)
async def test_key_and_scope_are_needed(
    client: httpx.AsyncClient,
    key_with: Callable[..., Any],
    method: str,
    path: str,
    scope: Scope,
) -> None:
    others = [one for one in Scope if one not in {scope, Scope.ADMIN}]

    nobody = await client.request(method, path, headers={"Authorization": ""})
    wrong = await client.request(method, path, headers=await key_with(*others))
    right = await client.request(method, path, headers=await key_with(scope))

    assert (nobody.status_code, wrong.status_code) == (401, 403)
    assert right.status_code in {200, 404}


async def test_events_are_listed_newest_first_in_pages(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for position in range(5):
        at = NOW + timedelta(seconds=position // 2)
        await store(session, {"id": f"EV{position}", "type": "call.ringing"}, now=at)

    listed: list[str] = []
    cursor: str | None = None
    while cursor is not None or not listed:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/webhook-events", params=params)).json()
        listed += [event["provider_event_id"] for event in page["data"]]
        cursor = page["next_cursor"]

    assert listed == ["EV4", "EV3", "EV2", "EV1", "EV0"]


async def test_events_are_filtered(client: httpx.AsyncClient, session: AsyncSession) -> None:
    await store(session, {"id": "EV1", "type": "call.ringing"}, status="dead")
    await store(session, {"id": "EV2", "type": "message.received"}, status="dead")
    await store(session, {"id": "EV3", "type": "message.received"})
    later = NOW + timedelta(hours=1)
    await store(session, {"id": "EV4", "type": "message.received"}, status="dead", now=later)

    async def ids(**params: str) -> list[str]:
        page = await client.get("/v1/webhook-events", params=params)
        return [event["provider_event_id"] for event in page.json()["data"]]

    assert await ids(status="dead") == ["EV4", "EV2", "EV1"]
    assert await ids(type="call.ringing") == ["EV1"]
    assert await ids(received_after=NOW.isoformat()) == ["EV4"]
    assert await ids(status="dead", type="message.received") == ["EV4", "EV2"]


@pytest.mark.parametrize(
    "params",
    [{"status": "lost"}, {"received_after": "yesterday"}, {"received_after": "2026-11-25T10:00"}],
)
async def test_invalid_filter_is_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await client.get("/v1/webhook-events", params=params)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(params))}"


async def test_event_is_read_with_its_payload(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    payload = sample("2026-03-30/call.missed")
    event = await store(session, payload)

    read = (await client.get(f"/v1/webhook-events/{event.id}")).json()

    assert read == {
        "id": str(event.id),
        "provider_event_id": payload["id"],
        "type": "call.missed",
        "status": "pending",
        "attempts": 0,
        "next_attempt_at": "2026-11-25T15:00:00.000Z",
        "last_error": None,
        "error_code": None,
        "received_at": "2026-11-25T15:00:00.000Z",
        "processed_at": None,
        "payload": payload,
    }


async def test_processed_event_has_no_next_attempt(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    event = await store(session, {"id": "EV1", "type": "x"}, status="processed", processed_at=NOW)

    read = (await client.get(f"/v1/webhook-events/{event.id}")).json()

    assert (read["next_attempt_at"], read["processed_at"]) == (None, "2026-11-25T15:00:00.000Z")


async def test_unknown_event_is_not_found(client: httpx.AsyncClient) -> None:
    read = await client.get(f"/v1/webhook-events/{new_id()}")
    replayed = await client.post(f"/v1/webhook-events/{new_id()}/replay")

    assert (read.status_code, replayed.status_code) == (404, 404)
    assert read.json()["code"] == "webhook_event_not_found"


async def test_replay_puts_the_event_back_and_nudges(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    event = await store(session, {"id": "EV1", "type": "x"}, status="dead", attempts=7)

    answer = await client.post(f"/v1/webhook-events/{event.id}/replay")

    row = (await rows(session, "SELECT status, attempts FROM webhook_event"))[0]
    assert (answer.status_code, answer.json()) == (202, {"replayed": 1})
    assert row == {"status": "pending", "attempts": 0}
    assert queue.names == [JobName.PROCESS_WEBHOOK_BACKLOG]
