"""One reader of the log in a process, whatever the number of those who listen.

It asks the database ten times a second, only while somebody listens, and hands what is new to
every listener through a bounded queue. What is told alike to many is written once.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.campaigns import counting
from crm_api.domain.events import service as events
from crm_api.domain.events.interest import Interest
from crm_api.domain.events.listener import Listener
from crm_api.domain.events.log import LoggedEvent, LogPage
from crm_api.domain.events.positions import Position
from crm_api.domain.events.schemas import EventType

log = structlog.get_logger()

POLL_SECONDS = 0.1
AWAY_SECONDS = 1.0
"""Between two tries while the database is away."""
COUNTERS_SECONDS = 1.0
"""The counts of a campaign are told at most this often."""

WriteEvents = Callable[[Sequence[LoggedEvent]], bytes]
"""Writes events as listeners get them; empty when there are none."""


class EventHub:
    """Reads the log for all listeners of a web process.

    ``start()`` and ``close()`` belong to the application's lifespan. Positions change and chunks
    are handed out without an await between, so that who listens from a position on misses nothing
    and gets nothing twice.
    """

    def __init__(
        self,
        new_uow: UnitOfWorkFactory,
        *,
        write: WriteEvents,
        poll_seconds: float = POLL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.new_uow = new_uow
        self.write = write
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._listeners: dict[Interest, set[Listener]] = {}
        self._position: Position | None = None
        self._has_listeners = asyncio.Event()
        self._reading = asyncio.Lock()
        self._changed: set[UUID] = set()
        self._told_at: dict[UUID, float] = {}
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> Position:
        """Up to where everything has been handed out; only while somebody listens."""
        if self._position is None:
            msg = "Nobody listens."
            raise RuntimeError(msg)
        return self._position

    async def start(self) -> None:
        """Begin to read whenever somebody listens."""
        self._task = asyncio.create_task(self._read_on(), name="event hub")

    def stop(self) -> None:
        """End every stream: this process goes down, and another one has the rest."""
        self._is_closing = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()

    async def close(self) -> None:
        """End every stream and read no more."""
        self.stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def wake(self) -> None:
        """Find out where the log ends, unless it is known because somebody listens."""
        async with self._reading:
            if self._position is None:
                async with self.new_uow() as uow:
                    self._position = (await events.ends(uow)).head

    @contextmanager
    def listening(self, interest: Interest) -> Iterator[Listener]:
        """Keep a listener for the length of a block; it gets nothing until it is live.

        To be entered right after ``wake()``, without an await between.
        """
        listener = Listener(interest)
        self._listeners.setdefault(interest, set()).add(listener)
        self._has_listeners.set()
        if self._is_closing:
            listener.end()
        try:
            yield listener
        finally:
            self._leave(listener)

    def _leave(self, listener: Listener) -> None:
        alike = self._listeners[listener.interest]
        alike.discard(listener)
        if not alike:
            del self._listeners[listener.interest]
        if not self._listeners:
            self._has_listeners.clear()
            self._position = None
            self._changed.clear()
            self._told_at.clear()

    async def poll(self) -> bool:
        """Read once, hand out what is new, and say whether there is more."""
        async with self._reading:
            if self._position is None:
                return False
            async with self.new_uow() as uow:
                page = await events.read_new(uow, after=self._position)
            if self._position is None:  # the last one has left meanwhile
                return False
            self._hand_out(page)
            await self._tell_counters()
        return not page.is_last

    def _hand_out(self, page: LogPage) -> None:
        self._position = page.until
        if not page.events:
            return
        for event in page.events:
            if event.type == EventType.CAMPAIGN_COUNTERS and event.campaign_id is not None:
                self._changed.add(event.campaign_id)
        told = [event for event in page.events if event.type != EventType.CAMPAIGN_COUNTERS]
        for interest in self._listeners:
            self._put(interest, [event for event in told if interest.wants(event)])

    async def _tell_counters(self) -> None:
        """Sum up the campaigns whose counts changed, each once a second at most."""
        now = self._monotonic()
        lately = {one for one, at in self._told_at.items() if now - at < COUNTERS_SECONDS}
        due = self._changed - lately
        wanted = {one for one in due if any(interest.counts(one) for interest in self._listeners)}
        counted = await self.counters(wanted) if wanted else []
        self._changed -= due
        told_at = self._told_at | dict.fromkeys(wanted, now)
        self._told_at = {one: at for one, at in told_at.items() if now - at < COUNTERS_SECONDS}
        for interest in self._listeners:
            own = [one for one in counted if one.campaign_id and interest.counts(one.campaign_id)]
            self._put(interest, own)

    async def counters(self, campaign_ids: set[UUID]) -> list[LoggedEvent]:
        """Sum up campaigns now, as events that are not kept."""
        async with self.new_uow() as uow:
            found = await counting.count_campaigns(uow, campaign_ids=sorted(campaign_ids))
        return [
            LoggedEvent(
                position=None,
                type=EventType.CAMPAIGN_COUNTERS,
                subject_id=campaign_id,
                campaign_id=campaign_id,
                data=counts.model_dump(),
                recorded_at=clock.now(),
            )
            for campaign_id, counts in found.items()
        ]

    def _put(self, interest: Interest, told: Sequence[LoggedEvent]) -> None:
        if not told:
            return
        chunk = self.write(told)
        for listener in self._listeners[interest]:
            listener.put(chunk)

    async def _read_on(self) -> None:
        while True:
            await self._has_listeners.wait()
            try:
                has_more = await self.poll()
            except Exception as error:  # noqa: BLE001 - the edge of a task that must outlive an outage
                log.warning("events not read", error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            # With more to read, others get their turn all the same.
            await asyncio.sleep(0 if has_more else self._poll_seconds)
