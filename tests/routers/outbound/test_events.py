"""Tests of event streams over a real server: resuming without loss, scopes, and filters."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in
from tests.routers.live import Stream, following, serving

from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.routers.outbound.event_frames import LAST_SECONDS
from crm_api.routers.outbound.event_streams import CHECK_SECONDS, OpenStreams

NewUow = Callable[[], UnitOfWork]
KeyWith = Callable[..., Awaitable[dict[str, str]]]
UNKNOWN_CAMPAIGN = "/v1/campaigns/00000000-0000-7000-8000-000000000000/events"
PATHS = ["/v1/events", UNKNOWN_CAMPAIGN]
ENDS_WITHIN_SECONDS = 5.0
"""Time within which a stream must end after its key was revoked.

No test measures this time, because a busy machine is slow. A test compares it with the intervals
of the service.
"""


@pytest_asyncio.fixture
async def live(committed_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(committed_app) as client:
        yield client


@pytest.fixture
def poll_log(committed_app: FastAPI) -> Callable[[], Awaitable[bool]]:
    """Return a function that reads the event log once; in these tests, no timer reads it."""
    read: Callable[[], Awaitable[bool]] = committed_app.state.events.poll
    return read


async def record_events(new_uow: NewUow, *names: str, **values: Any) -> None:
    for name in names:
        async with new_uow() as uow:
            await event_recording.record_event(
                uow,
                **({"type": EventType.IMPORT_PROGRESS, "subject_id": None} | values),
                data={"name": name},
            )


async def read_position(stream: Stream) -> str:
    """Read the first frame of an event stream; return its position in the event log."""
    frame = await stream.next()
    assert frame is not None
    assert (frame.comment, frame.data) == ("listening", None)
    return frame.id or ""


async def read_names(stream: Stream, count: int) -> list[str | None]:
    return [frame.name for frame in await stream.take(count)]


@pytest.mark.parametrize("path", PATHS)
async def test_missing_key_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers={"Authorization": ""})).status_code == 401


async def test_stream_needs_a_scope_with_events(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    hooks = await key_with(Scope.WEBHOOKS_READ)
    people = await key_with(Scope.CONTACTS_READ, Scope.MESSAGES_READ)

    nothing = await client.get("/v1/events", headers=hooks)
    alerts = await client.get("/v1/events", headers=people, params={"type": "alert"})
    campaign = await client.get(UNKNOWN_CAMPAIGN, headers=people)

    assert [one.status_code for one in (nothing, alerts, campaign)] == [403, 403, 403]
    assert alerts.json()["required_scope"] == "operations"
    assert campaign.json()["required_scope"] == "campaigns:read"


async def test_invalid_stream_request_is_a_problem(client: httpx.AsyncClient) -> None:
    missing = await client.get(UNKNOWN_CAMPAIGN)
    header = await client.get("/v1/events", headers={"Last-Event-ID": "yesterday"})
    query = await client.get("/v1/events", params={"last_event_id": "1-2-3"})
    kind = await client.get("/v1/events", params={"type": "weather"})

    assert (missing.status_code, missing.json()["code"]) == (404, "campaign_not_found")
    for answer, pointer in ((header, "/Last-Event-ID"), (query, "/last_event_id")):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_event_id")
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert kind.status_code == 422


async def test_event_is_sent_when_it_is_recorded(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    subject = new_id()
    async with following(live) as stream:
        await read_position(stream)
        await record_events(committed_uow, "one", subject_id=subject)
        await poll_log()
        frame = await stream.next()

    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert stream.response.headers["cache-control"] == "no-cache"
    assert frame is not None
    assert frame.event == "import.progress"
    assert frame.data is not None
    assert frame.data.pop("timestamp").endswith("Z")
    assert frame.data == {
        "type": "import.progress",
        "subject_id": str(subject),
        "campaign_id": None,
        "data": {"name": "one"},
    }


async def test_instants_of_an_event_are_in_utc_and_end_in_z(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    data = {"state": "waiting", "waiting_since": "2026-11-25T10:00:00-05:00", "snoozed_until": None}
    async with following(live) as stream:
        await read_position(stream)
        async with committed_uow() as uow:
            await event_recording.record_event(
                uow, type=EventType.CONVERSATION_CHANGED, subject_id=new_id(), data=data
            )
        await poll_log()
        frame = await stream.next()

    assert frame is not None
    assert frame.data is not None
    assert frame.data["data"] == data | {"waiting_since": "2026-11-25T15:00:00.000Z"}


async def test_reader_that_reconnects_gets_every_event_once(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    async with following(live) as stream:
        await read_position(stream)
        await record_events(committed_uow, "a", "b", "c")
        await poll_log()
        _, second, _ = await stream.take(3)
    await record_events(committed_uow, "d")
    async with following(live, headers={"Last-Event-ID": second.id}) as stream:
        missed = await read_names(stream, 2)
        await read_position(stream)
        await record_events(committed_uow, "e")
        await poll_log()
        rest = await read_names(stream, 1)

    assert missed + rest == ["c", "d", "e"]


async def test_stream_from_position_zero_has_every_stored_event(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    await record_events(committed_uow, "a", "b")
    await poll_log()

    async with following(live, headers={"Last-Event-ID": "0"}) as stream:
        assert await read_names(stream, 2) == ["a", "b"]


@pytest.mark.parametrize("way", ["header", "query", "header over query"])
async def test_position_before_any_event_can_be_resumed(
    live: httpx.AsyncClient, committed_uow: NewUow, way: str
) -> None:
    async with following(live) as stream:
        place = await read_position(stream)
    await record_events(committed_uow, "meanwhile")
    given: dict[str, dict[str, Any]] = {
        "header": {"headers": {"Last-Event-ID": place}},
        "query": {"params": {"last_event_id": place}},
        "header over query": {
            "headers": {"Last-Event-ID": place},
            "params": {"last_event_id": "1-1"},
        },
    }

    async with following(live, **given[way]) as stream:
        assert await read_names(stream, 1) == ["meanwhile"]
        await read_position(stream)


async def test_reader_catches_up_after_a_long_absence_while_new_events_arrive(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    async with following(live) as first, following(live) as second:
        place = await read_position(first)
        # The second stream stays open, so the process continues to read the event log.
        await read_position(second)
        async with committed_uow() as uow:
            await uow.session.execute(
                text(
                    "INSERT INTO event (type, data) SELECT 'import.progress', "
                    "jsonb_build_object('name', i::text) FROM generate_series(1, 2500) i"
                )
            )

        async def record_more_events() -> None:
            for position in range(2501, 2601):
                await record_events(committed_uow, str(position))
                await poll_log()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(record_more_events())
            async with following(live, headers={"Last-Event-ID": place}) as back:
                frames = [await back.next() for _ in range(2601)]

    received = [frame.name for frame in frames if frame is not None and frame.data is not None]
    assert received == [str(position) for position in range(1, 2601)]


async def test_late_commit_reaches_every_stream_once(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    async with following(live) as stream, AsyncExitStack() as stack:
        await read_position(stream)
        async with committed_uow() as slow:
            await event_recording.record_event(
                slow, type=EventType.OPT_OUT, subject_id=None, data={"name": "slow"}
            )
            await record_events(committed_uow, "quick")
            await poll_log()
            late = await stack.enter_async_context(following(live))
            await read_position(late)
        await poll_log()

        assert await read_names(stream, 2) == ["slow", "quick"]
        assert await read_names(late, 2) == ["slow", "quick"]


async def test_stream_has_only_the_events_that_the_scopes_allow(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    async def key(*scopes: Scope) -> dict[str, str]:
        async with committed_uow() as uow:
            _, text_of_key = await access.create_api_key(
                uow,
                name="scoped",
                scopes=[scope.value for scope in scopes],
                maker=access.COMMAND_LINE,
                now=NOW,
            )
        return {"Authorization": f"Bearer {text_of_key}"}

    campaign_id = new_id()
    expected = {
        Scope.CONTACTS_READ: ["opt_out", "import.progress"],
        Scope.MESSAGES_READ: ["message.received", "message.status"],
        Scope.CAMPAIGNS_READ: ["campaign.status", "message.status"],
        Scope.OPERATIONS: ["alert"],
        Scope.ADMIN: [
            "opt_out",
            "message.received",
            "campaign.status",
            "message.status",
            "alert",
            "import.progress",
        ],
    }
    received: dict[Scope, list[str | None]] = {}

    async def watch(scope: Scope, ready: asyncio.Event) -> None:
        async with following(live, headers=await key(scope)) as stream:
            await read_position(stream)
            ready.set()
            frames = await stream.take(len(expected[scope]))
            received[scope] = [frame.event for frame in frames]

    async with asyncio.TaskGroup() as tasks:
        for scope in expected:
            ready = asyncio.Event()
            tasks.create_task(watch(scope, ready))
            await ready.wait()
        for kind, campaign in (
            (EventType.OPT_OUT, None),
            (EventType.MESSAGE_RECEIVED, None),
            (EventType.CAMPAIGN_STATUS, campaign_id),
            (EventType.MESSAGE_STATUS, campaign_id),
            (EventType.ALERT, None),
            (EventType.IMPORT_PROGRESS, None),
        ):
            await record_events(committed_uow, "it", type=kind, campaign_id=campaign)
        await poll_log()

    assert received == expected


async def test_streams_are_filtered_by_type_and_campaign(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    mine, other = new_id(), new_id()
    params = {"type": ["message.status", "alert"], "campaign_id": str(mine)}
    async with following(live, params=params) as stream:
        await read_position(stream)
        for kind in (EventType.ALERT, EventType.MESSAGE_STATUS, EventType.MESSAGE_RECEIVED):
            await record_events(committed_uow, "neither", type=kind)
            await record_events(committed_uow, "other", type=kind, campaign_id=other)
        await record_events(committed_uow, "mine", type=EventType.MESSAGE_STATUS, campaign_id=mine)
        await poll_log()

        assert await read_names(stream, 1) == ["mine"]


async def test_campaign_stream_starts_with_counters_and_sends_their_changes(
    live: httpx.AsyncClient, committed_uow: NewUow, poll_log: Callable[[], Awaitable[bool]]
) -> None:
    ledger = await Ledger.open(committed_uow, people=3)
    async with following(live, f"/v1/campaigns/{ledger.campaign.id}/events") as stream:
        await read_position(stream)
        first = await stream.next()
        (claimed, *_) = await ledger.begin_calls(limit=2)
        await ledger.accept(claimed)
        await poll_log()
        sent, second = await stream.take(2)

    assert first is not None
    assert first.data is not None
    assert second.data is not None
    assert (first.event, first.id, second.id) == ("campaign.counters", None, None)
    assert first.data["data"]["recipients_total"] == 3
    assert first.data["data"]["by_status"]["pending"] == 3
    assert (sent.event, second.event) == ("message.status", "campaign.counters")
    assert second.data["data"]["by_status"] == {
        **dict.fromkeys(first.data["data"]["by_status"], 0),
        "pending": 1,
        "sending": 1,
        "sent": 1,
    }
    assert second.data["campaign_id"] == str(ledger.campaign.id)


async def test_counters_that_changed_during_an_absence_are_sent(
    live: httpx.AsyncClient, committed_uow: NewUow
) -> None:
    async with following(live) as stream:
        place = await read_position(stream)
    ledger = await Ledger.open(committed_uow, people=2)
    await ledger.claim()

    headers = {"Last-Event-ID": place}
    async with following(live, headers=headers, params={"type": "campaign.counters"}) as stream:
        await read_position(stream)
        frame = await stream.next()

    assert frame is not None
    assert frame.data is not None
    assert frame.data["subject_id"] == str(ledger.campaign.id)
    assert frame.data["data"]["by_status"]["sending"] == 2


@pytest.mark.parametrize("place", ["forgotten", "of another server"])
async def test_reader_that_missed_deleted_events_gets_a_reset(
    live: httpx.AsyncClient,
    committed_uow: NewUow,
    poll_log: Callable[[], Awaitable[bool]],
    place: str,
) -> None:
    async with following(live) as stream:
        old = await read_position(stream)
    await record_events(committed_uow, "a", "b")
    async with committed_uow() as uow:
        await events.forget_old_events(uow, now=clock.now() + timedelta(days=8))
    given = old if place == "forgotten" else "999999999999999-1"

    async with following(live, headers={"Last-Event-ID": given}) as stream:
        reset = await stream.next()
        await record_events(committed_uow, "c")
        await poll_log()
        rest = await read_names(stream, 1)

    assert reset is not None
    assert reset.event == "reset"
    assert reset.id
    assert rest == ["c"]


async def test_streams_end_when_the_process_stops(
    live: httpx.AsyncClient, committed_app: FastAPI
) -> None:
    async with following(live) as stream:
        await read_position(stream)
        committed_app.state.events.stop()

        assert await stream.next() is None
    async with following(live) as stream:
        await read_position(stream)
        assert await stream.next() is None


async def revoke(session: AsyncSession) -> None:
    await session.execute(text("UPDATE api_key SET revoked_at = now() WHERE name = 'scoped'"))


async def expire(session: AsyncSession) -> None:
    await session.execute(text("UPDATE api_key SET expires_at = now() WHERE name = 'scoped'"))


@pytest.mark.parametrize("change", [revoke, expire])
async def test_stream_ends_when_its_key_is_revoked_or_expires(
    live: httpx.AsyncClient,
    committed_uow: NewUow,
    change: Callable[[AsyncSession], Awaitable[None]],
) -> None:
    async with committed_uow() as uow:
        _, key = await access.create_api_key(
            uow, name="scoped", scopes=["admin"], maker=access.COMMAND_LINE, now=NOW
        )

    async with following(live, headers={"Authorization": f"Bearer {key}"}) as stream:
        await read_position(stream)
        async with committed_uow() as uow:
            await change(uow.session)
        ended = await stream.next()

    assert ended is None


def test_key_check_interval_ends_a_stream_within_five_seconds() -> None:
    assert CHECK_SECONDS + LAST_SECONDS <= ENDS_WITHIN_SECONDS - 2


@pytest.mark.parametrize("change", [{"status": "disabled"}, {"role": "viewer"}])
async def test_stream_ends_when_its_user_loses_scopes(
    live: httpx.AsyncClient, change: dict[str, str]
) -> None:
    user = await create_active_user(live, role="manager")
    headers = bearer(await sign_in(live))

    async with following(live, headers=headers) as stream:
        await read_position(stream)
        changed = await live.patch(f"/v1/users/{user['id']}", json=change)
        ended = await stream.next()

    assert changed.status_code == 200
    assert ended is None


async def test_caller_can_open_twenty_streams(live: httpx.AsyncClient) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(following(live))

        refused = await live.get("/v1/events")

    assert refused.status_code == 429


async def test_stream_limit_is_counted_per_caller(
    live: httpx.AsyncClient, committed_app: FastAPI, committed_uow: NewUow
) -> None:
    committed_app.state.streams = OpenStreams(most=2)
    async with committed_uow() as uow:
        _, key = await access.create_api_key(
            uow, name="other", scopes=["admin"], maker=access.COMMAND_LINE, now=NOW
        )
    other = {"Authorization": f"Bearer {key}"}

    async with following(live), following(live):
        refused = await live.get("/v1/events")
        async with following(live, headers=other) as stream:
            await read_position(stream)
    async with following(live) as stream:
        await read_position(stream)

    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_event_streams"
    assert refused.headers["retry-after"] == "30"
