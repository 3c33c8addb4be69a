"""One reader for all who listen: shared work, bounded queues, counts once a second."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from tests.domain.events.test_log import happens, head
from tests.domain.sends.ledger import Ledger

from crm_api.db import UnitOfWork
from crm_api.domain.access.models import Scope
from crm_api.domain.events.following import Marks, follow
from crm_api.domain.events.hub import EventHub
from crm_api.domain.events.interest import Interest
from crm_api.domain.events.listener import MOST_CHUNKS
from crm_api.domain.events.log import LoggedEvent
from crm_api.domain.events.positions import Position
from crm_api.domain.events.schemas import EventType
from crm_api.routers.event_frames import EventStreamResponse

NewUow = Callable[[], UnitOfWork]
ALL = Interest.of(scopes=[Scope.ADMIN])
PEOPLE = Interest.of(scopes=[Scope.CONTACTS_READ])
ALERTS = Interest.of(scopes=[Scope.OPERATIONS])
COUNTS = Interest.of(scopes=[Scope.ADMIN], types=[EventType.CAMPAIGN_COUNTERS])


def written(told: Sequence[LoggedEvent]) -> bytes:
    """The names of the events, or the states of a campaign's people."""
    return b"".join(
        f"{one.data.get('name') or one.data['by_status']['sending']} ".encode() for one in told
    )


def _mark(word: bytes) -> Callable[[Position], bytes]:
    return lambda _: word


MARKS = Marks(hello=_mark(b"hello"), reset=_mark(b"reset"), heartbeat=_mark(b"heartbeat"))


class House:
    """A hub whose seconds are told, and how often it asked the database."""

    def __init__(self, new_uow: NewUow) -> None:
        self.now = 0.0
        self.asked = 0
        self.written = 0
        self._new_uow = new_uow
        self.hub = EventHub(self._counted, write=self._write, monotonic=lambda: self.now)

    def _counted(self) -> UnitOfWork:
        self.asked += 1
        return self._new_uow()

    def _write(self, told: Sequence[LoggedEvent]) -> bytes:
        self.written += 1
        return written(told)

    async def listen(self, interest: Interest = ALL, **times: float) -> AsyncIterator[bytes]:
        """A stream that is live."""
        stream = follow(self.hub, interest=interest, after=None, marks=MARKS, **times)
        assert await anext(stream) == b"hello"
        return stream


@pytest.fixture
def house(committed_uow: NewUow) -> House:
    return House(committed_uow)


async def close(*streams: Any) -> None:
    for stream in streams:
        await stream.aclose()


async def test_a_thousand_listeners_cost_one_query_and_one_writing(
    house: House, committed_uow: NewUow
) -> None:
    streams = [await house.listen() for _ in range(500)]
    streams += [await house.listen(PEOPLE) for _ in range(500)]
    await happens(committed_uow, "one")
    asked, wrote = house.asked, house.written

    await house.hub.poll()
    got = [await anext(stream) for stream in streams]

    assert (house.asked - asked, house.written - wrote) == (1, 2)
    assert got == [b"one "] * 1000
    await close(*streams)


async def test_nobody_listens_and_nobody_asks(house: House, committed_uow: NewUow) -> None:
    stream = await house.listen()
    await close(stream)
    await happens(committed_uow, "unheard")
    asked = house.asked

    has_more = await house.hub.poll()
    late = await house.listen()
    await happens(committed_uow, "heard")
    await house.hub.poll()

    assert (has_more, house.asked - asked) == (False, 2)
    assert await anext(late) == b"heard "
    await close(late)


async def test_slow_listener_is_ended_and_holds_up_nobody(
    house: House, committed_uow: NewUow
) -> None:
    slow, quick = await house.listen(), await house.listen()
    got = []
    for position in range(MOST_CHUNKS + 1):
        await happens(committed_uow, str(position))
        await house.hub.poll()
        got.append(await anext(quick))

    assert [chunk async for chunk in slow] == []
    assert b"".join(got).split() == [str(one).encode() for one in range(MOST_CHUNKS + 1)]
    await close(quick)


async def test_caller_that_takes_nothing_is_given_up() -> None:
    closed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.set()

    taken: list[Any] = []

    async def send(message: Any) -> None:
        taken.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await EventStreamResponse(chunks(), slow_seconds=0.01).stream_response(send)

    assert taken == ["http.response.start", "http.response.body"]
    assert closed.is_set()


async def test_silence_is_broken_by_signs_of_life(house: House) -> None:
    stream = await house.listen(heartbeat_seconds=0.001)

    assert [await anext(stream) for _ in range(2)] == [b"heartbeat"] * 2
    await close(stream)


async def test_stream_ends_after_a_while_so_that_the_key_is_looked_at_again(house: House) -> None:
    stream = await house.listen(longest_seconds=0.0)

    assert [chunk async for chunk in stream] == []


async def test_counts_are_told_once_a_second_and_the_last_ones_always(
    house: House, committed_uow: NewUow
) -> None:
    ledger = await Ledger.open(committed_uow, people=5)
    stream = await house.listen(COUNTS)
    told = []
    for second, claims in ((0.0, 1), (0.4, 1), (0.8, 1), (1.0, 0), (1.5, 0), (2.5, 0)):
        house.now = second
        if claims:
            await ledger.claim(limit=claims)
        wrote = house.written
        await house.hub.poll()
        for _ in range(house.written - wrote):
            told.append((second, await anext(stream)))  # noqa: PERF401 - one after the other

    assert told == [(0.0, b"1 "), (1.0, b"3 ")]
    await close(stream)


async def test_counts_that_nobody_watches_are_not_summed_up(
    house: House, committed_uow: NewUow
) -> None:
    stream = await house.listen(ALERTS)
    await Ledger.open(committed_uow, people=1)
    asked = house.asked

    await house.hub.poll()

    assert house.asked - asked == 1
    await close(stream)


async def test_reader_of_a_process_that_was_ahead_gets_nothing_twice(
    house: House, committed_uow: NewUow
) -> None:
    """This process has not read yet what the other has told."""
    other = await house.listen()
    await happens(committed_uow, "told by another process")
    after = await head(committed_uow)

    stream = follow(house.hub, interest=ALL, after=after, marks=MARKS)
    begun = await anext(stream)
    await happens(committed_uow, "new")
    await house.hub.poll()

    assert (begun, await anext(stream)) == (b"hello", b"new ")
    await close(stream, other)


async def test_database_that_is_away_ends_no_stream(committed_uow: NewUow) -> None:
    is_away = False

    def new_uow() -> UnitOfWork:
        if is_away:
            raise ConnectionRefusedError
        return committed_uow()

    hub = EventHub(new_uow, write=written)
    stream = follow(hub, interest=ALL, after=None, marks=MARKS)
    await anext(stream)
    is_away = True
    with pytest.raises(ConnectionRefusedError):
        await hub.poll()
    await happens(committed_uow, "meanwhile")
    is_away = False
    await hub.poll()

    assert await anext(stream) == b"meanwhile "
    await close(stream)


async def test_hub_reads_by_itself_while_somebody_listens(committed_uow: NewUow) -> None:
    hub = EventHub(committed_uow, write=written, poll_seconds=0.01)
    await hub.start()
    stream = follow(hub, interest=ALL, after=None, marks=MARKS)
    await anext(stream)
    await happens(committed_uow, "seen")
    async with asyncio.timeout(10):
        got = await anext(stream)
    await hub.close()

    assert got == b"seen "
    assert [chunk async for chunk in stream] == []
