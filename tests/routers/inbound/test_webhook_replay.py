"""Tests of failed events: groups by error, and the replay of selected events."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import rows, store
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName

URL = "/v1/webhook-events/replay"


async def store_failed_event(
    session: AsyncSession, name: str, *, code: str = "line_unknown", **more: Any
) -> str:
    values: dict[str, Any] = {"status": "dead", "attempts": 7, "type": "message.received"}
    values |= {"error_code": code, "last_error": f"{name}."} | more
    event = await store(session, {"id": name}, **values)
    return str(event.id)


async def pending(session: AsyncSession) -> list[str]:
    found = await rows(
        session,
        "SELECT provider_event_id AS id FROM webhook_event WHERE status = 'pending' "
        "ORDER BY next_attempt_at, id",
    )
    return [row["id"] for row in found]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/webhook-events/errors", Scope.WEBHOOKS_READ),
        ("POST", URL, Scope.WEBHOOKS_WRITE),
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
    body: dict[str, Any] | None = {"all": True} if method == "POST" else None

    nobody = await client.request(method, path, json=body, headers={"Authorization": ""})
    wrong = await client.request(method, path, json=body, headers=await key_with(*others))
    right = await client.request(method, path, json=body, headers=await key_with(scope))

    assert (nobody.status_code, wrong.status_code) == (401, 403)
    assert right.status_code in {200, 202}


async def test_events_with_the_same_error_are_one_class(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for position in range(3):
        await store_failed_event(session, f"EV{position}", now=NOW + timedelta(minutes=position))
    await store_failed_event(session, "EV3", type="call.completed", status="failed", now=NOW)
    await store_failed_event(session, "EV4", code="KeyError", now=NOW + timedelta(hours=1))
    await store(session, {"id": "EV5"}, status="processed")

    found = (await client.get("/v1/webhook-events/errors")).json()

    assert found == {
        "data": [
            {
                "error_code": "KeyError",
                "events": 1,
                "dead": 1,
                "types": ["message.received"],
                "first_seen_at": "2026-11-25T16:00:00.000Z",
                "last_seen_at": "2026-11-25T16:00:00.000Z",
                "last_error": "EV4.",
            },
            {
                "error_code": "line_unknown",
                "events": 4,
                "dead": 3,
                "types": ["call.completed", "message.received"],
                "first_seen_at": "2026-11-25T15:00:00.000Z",
                "last_seen_at": "2026-11-25T15:02:00.000Z",
                "last_error": "EV2.",
            },
        ],
        "next_cursor": None,
    }
    page = (await client.get("/v1/webhook-events", params={"error_code": "KeyError"})).json()
    assert [event["provider_event_id"] for event in page["data"]] == ["EV4"]
    assert page["data"][0]["error_code"] == "KeyError"


SELECTIONS: list[tuple[dict[str, Any], set[str]]] = [
    ({"all": True}, {"EV0", "EV1", "EV2", "EV3"}),
    ({"status": "dead"}, {"EV0", "EV1"}),
    ({"type": "call.completed"}, {"EV1", "EV3"}),
    ({"status": "dead", "type": "call.completed"}, {"EV1"}),
    ({"error_code": "line_unknown"}, {"EV0", "EV2"}),
    ({"received_after": (NOW + timedelta(minutes=1)).isoformat()}, {"EV2", "EV3"}),
    ({"ids": []}, set()),
    ({"ids": [str(new_id())]}, set()),
]


@pytest.mark.parametrize(("selection", "chosen"), SELECTIONS)
async def test_selection_is_counted_and_then_replayed(
    client: httpx.AsyncClient,
    session: AsyncSession,
    queue: RecordingQueue,
    selection: dict[str, Any],
    chosen: set[str],
) -> None:
    await store_failed_event(session, "EV0")
    await store_failed_event(
        session, "EV1", code="KeyError", type="call.completed", now=NOW + timedelta(minutes=1)
    )
    await store_failed_event(session, "EV2", status="failed", now=NOW + timedelta(minutes=2))
    await store(
        session,
        {"id": "EV3", "type": "call.completed"},
        status="processed",
        now=NOW + timedelta(minutes=3),
    )
    before = await rows(session, "SELECT * FROM webhook_event ORDER BY id")

    dry = await client.post(URL, json=selection | {"dry_run": True})
    untouched = await rows(session, "SELECT * FROM webhook_event ORDER BY id")
    no_nudge = list(queue.jobs)
    real = await client.post(URL, json=selection)

    assert (dry.status_code, real.status_code) == (202, 202)
    assert dry.json() == {
        "matched": len(chosen),
        "replayed": 0,
        "dry_run": True,
        "counts": {"matched": len(chosen)},
        "token": dry.json()["token"],
    }
    assert real.json() == {"matched": len(chosen), "replayed": len(chosen), "dry_run": False}
    assert untouched == before
    assert no_nudge == []
    assert await pending(session) == sorted(chosen)
    assert queue.names == ([JobName.PROCESS_WEBHOOK_BACKLOG] if chosen else [])


async def test_selected_events_are_replayed_with_all_their_attempts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    chosen = [await store_failed_event(session, f"EV{position}") for position in range(3)]

    answer = await client.post(URL, json={"ids": chosen[:2]})

    found = await rows(
        session,
        "SELECT status, attempts, last_error, error_code FROM webhook_event "
        "ORDER BY provider_event_id",
    )
    fresh = {
        "status": "pending",
        "attempts": 0,
        "last_error": None,
        "error_code": "line_unknown",
    }
    assert answer.json()["replayed"] == 2
    assert found[:2] == [fresh, fresh]
    assert found[2]["status"] == "dead"


async def test_large_replay_does_not_delay_new_events(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for position in range(700):
        event = {"id": f"EV{position:03}"}
        await store(session, event, status="dead", now=NOW + timedelta(seconds=position))

    await client.post(URL, json={"status": "dead"})

    (found,) = await rows(
        session,
        "SELECT count(*) FILTER (WHERE next_attempt_at < first + interval '1 second') AS at_once, "
        "extract(epoch FROM max(next_attempt_at) - min(next_attempt_at)) AS seconds "
        "FROM webhook_event, (SELECT min(next_attempt_at) AS first FROM webhook_event) begun",
    )
    assert found["at_once"] == 300
    assert 2 <= found["seconds"] < 3
    assert await pending(session) == [f"EV{position:03}" for position in range(700)]


async def test_replay_of_a_selection_is_in_the_audit_log(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await store_failed_event(session, "EV0")

    await client.post(URL, json={"status": "dead", "error_code": "line_unknown"})

    (entry,) = await rows(session, "SELECT actor, action, detail FROM audit_log")
    assert entry["actor"]
    assert (entry["action"], entry["detail"]) == (
        "replay_webhook_events",
        {"status": "dead", "error_code": "line_unknown", "events": 1},
    )


@pytest.mark.parametrize(
    "body",
    [
        {"status": "lost"},
        {"received_after": "yesterday"},
        {"received_after": "2026-11-25T10:00"},
        {"ids": ["no id"]},
        {"ids": [str(new_id())] * 1001},
        {"type": "a\0b"},
        {"dryrun": True},
        {},
        {"all": False},
        {"all": True, "status": "dead"},
        [],
    ],
)
async def test_invalid_selection_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, body: Any
) -> None:
    await store_failed_event(session, "EV0")

    answer = await client.post(URL, json=body)

    assert answer.status_code == 422
    assert await pending(session) == []
