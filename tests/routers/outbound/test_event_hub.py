"""Tests of the event hub, which reads the event log once for all event streams of a process."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger
from tests.domain.outbound.live_events.test_log import emit_events, head
from tests.factories import make_contact, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.outbound.live_events.event_filter import EventFilter
from crm_api.domain.outbound.live_events.event_log import LoggedEvent, LogPosition
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.routers.outbound.event_frames import EventStreamResponse, StreamMarks, stream_events
from crm_api.routers.outbound.event_hub import MOST_CHUNKS, EventHub
from crm_api.routers.outbound.event_streams import AccessChecks

NewUow = Callable[[], UnitOfWork]
ALL = EventFilter.of(scopes=[Scope.ADMIN])
PEOPLE = EventFilter.of(scopes=[Scope.CONTACTS_READ])
ALERTS = EventFilter.of(scopes=[Scope.OPERATIONS])
COUNTS = EventFilter.of(scopes=[Scope.ADMIN], types=[EventType.CAMPAIGN_COUNTERS])


def serialise_events(events: Sequence[LoggedEvent]) -> bytes:
    """Return the names of events; for campaign counters, the recipients in the status sending."""
    return b"".join(
        f"{one.data.get('name') or one.data['by_status']['sending']} ".encode() for one in events
    )


def _frame(content: bytes) -> Callable[[LogPosition], bytes]:
    return lambda _: content


MARKS = StreamMarks(hello=_frame(b"hello"), reset=_frame(b"reset"), heartbeat=_frame(b"heartbeat"))


class CountingHub:
    """An event hub that counts its reads and serialisations; the test sets its clock."""

    def __init__(self, new_uow: NewUow) -> None:
        self.now = 0.0
        self.reads = 0
        self.writes = 0
        self._new_uow = new_uow
        self.hub = EventHub(self._counted, write=self._write, monotonic=lambda: self.now)

    def _counted(self) -> UnitOfWork:
        self.reads += 1
        return self._new_uow()

    def _write(self, events: Sequence[LoggedEvent]) -> bytes:
        self.writes += 1
        return serialise_events(events)

    async def listen(self, event_filter: EventFilter = ALL, **times: float) -> AsyncIterator[bytes]:
        """Open an event stream without earlier events, and return it."""
        stream = stream_events(
            self.hub, event_filter=event_filter, after=None, marks=MARKS, **times
        )
        assert await anext(stream) == b"hello"
        return stream


@pytest.fixture
def counting_hub(committed_uow: NewUow) -> CountingHub:
    return CountingHub(committed_uow)


async def close(*streams: Any) -> None:
    for stream in streams:
        await stream.aclose()


async def test_thousand_listeners_need_one_query_and_one_serialisation_per_filter(
    counting_hub: CountingHub, committed_uow: NewUow
) -> None:
    streams = [await counting_hub.listen() for _ in range(500)]
    streams += [await counting_hub.listen(PEOPLE) for _ in range(500)]
    await emit_events(committed_uow, "one")
    reads_before, writes_before = counting_hub.reads, counting_hub.writes

    await counting_hub.hub.poll()
    chunks = [await anext(stream) for stream in streams]

    assert (counting_hub.reads - reads_before, counting_hub.writes - writes_before) == (1, 2)
    assert chunks == [b"one "] * 1000
    await close(*streams)


async def test_hub_without_listeners_does_not_read(
    counting_hub: CountingHub, committed_uow: NewUow
) -> None:
    stream = await counting_hub.listen()
    await close(stream)
    await emit_events(committed_uow, "unheard")
    reads_before = counting_hub.reads

    has_more = await counting_hub.hub.poll()
    late = await counting_hub.listen()
    await emit_events(committed_uow, "heard")
    await counting_hub.hub.poll()

    assert (has_more, counting_hub.reads - reads_before) == (False, 2)
    assert await anext(late) == b"heard "
    await close(late)


async def test_slow_listener_is_ended_and_does_not_delay_others(
    counting_hub: CountingHub, committed_uow: NewUow
) -> None:
    slow, quick = await counting_hub.listen(), await counting_hub.listen()
    chunks = []
    for position in range(MOST_CHUNKS + 1):
        await emit_events(committed_uow, str(position))
        await counting_hub.hub.poll()
        chunks.append(await anext(quick))

    assert [chunk async for chunk in slow] == []
    assert b"".join(chunks).split() == [str(one).encode() for one in range(MOST_CHUNKS + 1)]
    await close(quick)


async def test_stream_to_a_caller_that_does_not_read_is_closed() -> None:
    closed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.set()

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await EventStreamResponse(chunks(), slow_seconds=0.01).stream_response(send)

    assert sent == ["http.response.start", "http.response.body"]
    assert closed.is_set()


async def test_idle_stream_sends_heartbeats(counting_hub: CountingHub) -> None:
    stream = await counting_hub.listen(heartbeat_seconds=0.001)

    assert [await anext(stream) for _ in range(2)] == [b"heartbeat"] * 2
    await close(stream)


async def test_stream_ends_after_its_longest_duration_so_that_the_key_is_checked_again(
    counting_hub: CountingHub,
) -> None:
    stream = await counting_hub.listen(longest_seconds=0.0)

    assert [chunk async for chunk in stream] == []


async def test_counters_are_emitted_once_a_second_and_the_last_values_always(
    counting_hub: CountingHub, committed_uow: NewUow
) -> None:
    ledger = await Ledger.open(committed_uow, people=5)
    stream = await counting_hub.listen(COUNTS)
    emitted = []
    for second, claims in ((0.0, 1), (0.4, 1), (0.8, 1), (1.0, 0), (1.5, 0), (2.5, 0)):
        counting_hub.now = second
        if claims:
            await ledger.claim(limit=claims)
        writes_before = counting_hub.writes
        await counting_hub.hub.poll()
        for _ in range(counting_hub.writes - writes_before):
            emitted.append((second, await anext(stream)))  # noqa: PERF401 - sequential reads

    assert emitted == [(0.0, b"1 "), (1.0, b"3 ")]
    await close(stream)


async def test_counters_without_a_listener_are_not_computed(
    counting_hub: CountingHub, committed_uow: NewUow
) -> None:
    stream = await counting_hub.listen(ALERTS)
    await Ledger.open(committed_uow, people=1)
    reads_before = counting_hub.reads

    await counting_hub.hub.poll()

    assert counting_hub.reads - reads_before == 1
    await close(stream)


async def test_reader_that_changes_to_a_slower_process_gets_no_event_twice(
    counting_hub: CountingHub, committed_uow: NewUow
) -> None:
    """Prove that no event is repeated if this process reads the log later than another process.

    The reader has already received an event that this process has not read yet.
    """
    other = await counting_hub.listen()
    await emit_events(committed_uow, "emitted by another process")
    after = await head(committed_uow)

    stream = stream_events(counting_hub.hub, event_filter=ALL, after=after, marks=MARKS)
    first = await anext(stream)
    await emit_events(committed_uow, "new")
    await counting_hub.hub.poll()

    assert (first, await anext(stream)) == (b"hello", b"new ")
    await close(stream, other)


async def test_unavailable_database_ends_no_stream(committed_uow: NewUow) -> None:
    is_unavailable = False

    def new_uow() -> UnitOfWork:
        if is_unavailable:
            raise ConnectionRefusedError
        return committed_uow()

    hub = EventHub(new_uow, write=serialise_events)
    stream = stream_events(hub, event_filter=ALL, after=None, marks=MARKS)
    await anext(stream)
    is_unavailable = True
    with pytest.raises(ConnectionRefusedError):
        await hub.poll()
    await emit_events(committed_uow, "meanwhile")
    is_unavailable = False
    await hub.poll()

    assert await anext(stream) == b"meanwhile "
    await close(stream)


async def test_hub_reads_automatically_while_it_has_a_listener(committed_uow: NewUow) -> None:
    hub = EventHub(committed_uow, write=serialise_events, poll_seconds=0.01)
    await hub.start()
    stream = stream_events(hub, event_filter=ALL, after=None, marks=MARKS)
    await anext(stream)
    await emit_events(committed_uow, "seen")
    async with asyncio.timeout(10):
        chunk = await anext(stream)
    await hub.close()

    assert chunk == b"seen "
    assert [chunk async for chunk in stream] == []


async def test_stream_ends_when_its_caller_loses_access() -> None:
    answers = iter([True, True, False])
    sent: list[Any] = []

    async def endless() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    async def is_valid() -> bool:
        return next(answers)

    async def send(message: Any) -> None:
        sent.append(message)

    checks = AccessChecks(check_seconds=0)
    access = partial(checks.while_valid, "key", is_valid=is_valid)
    await EventStreamResponse(endless(), access=access).stream_response(send)

    assert [message.get("body") for message in sent] == [None, b"one", b""]
    assert list(answers) == []


async def test_streams_with_the_same_credentials_share_one_check() -> None:
    checks = AccessChecks(check_seconds=0)
    checked: list[str] = []
    ended: list[str] = []
    lost, all_checked = asyncio.Event(), asyncio.Event()

    async def follow(credentials: str, name: str) -> None:
        async def is_valid() -> bool:
            checked.append(name)
            if {"a", "c"} <= set(checked):
                all_checked.set()
            return not (lost.is_set() and credentials == "first")

        async with checks.while_valid(credentials, is_valid=is_valid):
            await asyncio.Event().wait()
        ended.append(name)

    names = [("first", "a"), ("first", "b"), ("second", "c")]
    streams = [asyncio.create_task(follow(*one)) for one in names]
    async with asyncio.timeout(10):
        await all_checked.wait()
    lost.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*streams[:2])
    late = asyncio.create_task(follow("first", "d"))
    async with asyncio.timeout(10):
        await late
    streams[2].cancel()
    await asyncio.gather(streams[2], return_exceptions=True)
    await asyncio.sleep(0)
    checked_until_the_end = len(checked)
    await asyncio.sleep(0)

    assert sorted(ended) == ["a", "b", "d"]
    assert set(checked) == {"a", "c", "d"}
    assert len(checked) == checked_until_the_end


async def test_timeout_inside_a_stream_is_not_handled_as_lost_access() -> None:
    async def is_valid() -> bool:
        return True

    with pytest.raises(TimeoutError):
        async with AccessChecks().while_valid("key", is_valid=is_valid):
            raise TimeoutError


async def receive(committed_uow: NewUow, *, campaign_id: UUID) -> Activity:
    """Store a reply to a campaign; a database trigger emits its event."""
    async with committed_uow() as uow:
        contact = await make_contact(uow.session, phone=number(7), first_name="Ada")
        message = Activity(
            kind="message",
            direction="incoming",
            origin="provider",
            contact_id=contact.id,
            campaign_id=campaign_id,
            phone=number(7),
            body="Yes, please",
            status="received",
            occurred_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
        uow.session.add(message)
    return message


async def test_received_message_names_its_sender_only_to_callers_who_can_read_messages(
    committed_uow: NewUow,
) -> None:
    def write(events: Sequence[LoggedEvent]) -> bytes:
        shown = [one.data for one in events if one.type == EventType.MESSAGE_RECEIVED]
        return json.dumps(shown).encode()

    hub = EventHub(committed_uow, write=write)
    kinds = [EventType.MESSAGE_RECEIVED]
    begin = await head(committed_uow)
    scopes = (Scope.ADMIN, Scope.MESSAGES_READ, Scope.CAMPAIGNS_READ)
    filters = [EventFilter.of(scopes=[scope], types=kinds) for scope in scopes]
    streams = [stream_events(hub, event_filter=one, after=None, marks=MARKS) for one in filters]
    for stream in streams:
        await anext(stream)

    message = await receive(committed_uow, campaign_id=new_id())
    await hub.poll()

    live = [json.loads(await anext(stream))[0] for stream in streams]
    late = stream_events(hub, event_filter=filters[1], after=begin, marks=MARKS)
    [missed] = json.loads(await anext(late))
    names = {"id": str(message.contact_id), "first_name": "Ada", "last_name": None, "company": None}
    details = {"phone": number(7), "contact": names, "body_preview": "Yes, please"}
    assert all(details.items() <= data.items() for data in (*live[:2], missed))
    assert not {"phone", "contact", "body_preview"} & live[2].keys()
    await close(*streams, late)
