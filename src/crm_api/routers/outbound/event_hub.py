"""Read the event log once per web process, for any number of listeners.

The hub polls the database ten times a second while there are listeners, and puts new events into
the bounded queue of each listener. Events for listeners with equal filters are serialised once.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from crm_api.domain.campaigns.figures import live_counts
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.domain.outbound.live_events.event_filter import EventFilter
from crm_api.domain.outbound.live_events.event_log import LoggedEvent, LogPage, LogPosition
from crm_api.domain.outbound.live_events.message_details import with_message_details
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

log = structlog.get_logger()

POLL_SECONDS = 0.1
AWAY_SECONDS = 1.0
"""Pause, in seconds, between two tries to read the event log while the database is unavailable."""
COUNTERS_SECONDS = 1.0
"""Minimum time between two ``campaign.counters`` events of one campaign."""

MOST_CHUNKS = 128
"""Maximum length of a listener's queue. A queue of this length holds the events of about 13 seconds
of constant changes. The stream of a slower listener is ended, and its client reconnects."""

WriteEvents = Callable[[Sequence[LoggedEvent]], bytes]
"""A function that serialises events for listeners. If there are no events, its result is empty."""


class StreamListener:
    """The queue of chunks (events as bytes) that one stream still has to send.

    Attributes:
        event_filter: Selects the events of the stream.
        is_live: Whether the queue accepts new events. While False, the stream sends older events
            from the log.
        is_over: Whether the stream has ended, because its client was too slow or the process stops.
    """

    def __init__(self, event_filter: EventFilter) -> None:
        self.event_filter = event_filter
        self.is_live = False
        self.is_over = False
        # A list and one `asyncio.Event` need 2 kB less memory than an `asyncio.Queue`. There are
        # many streams, and each stream has these objects.
        self._chunks: list[bytes] = []
        self._has_news = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """True if no events wait to be sent to the client."""
        return not self._chunks

    def put(self, chunk: bytes) -> None:
        """Add a chunk (events as bytes) to the queue of this stream.

        While ``is_live`` is False, nothing is added. If the queue is full, the stream ends, because
        its client reads too slowly.
        """
        if not self.is_live or self.is_over:
            return
        if len(self._chunks) == MOST_CHUNKS:
            self.end()
            return
        self._chunks.append(chunk)
        self._has_news.set()

    def end(self) -> None:
        """End the stream, and drop the events that wait in its queue.

        The event log still contains these events.
        """
        self.is_over = True
        self._chunks.clear()
        self._has_news.set()

    async def take(self) -> bytes:
        """Wait until there are events to send, and return the text of all of them as bytes.

        An empty result means that the stream has ended.
        """
        await self._has_news.wait()
        self._has_news.clear()
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)


def select_events(
    event_filter: EventFilter,
    found: Sequence[LoggedEvent],
    detailed: Mapping[UUID, LoggedEvent],
) -> list[LoggedEvent]:
    """Return the events that pass a filter, in their order.

    Args:
        event_filter: The filter. If its ``reads_messages`` is True, events in ``detailed`` replace
            the events without details.
        found: The events from the log.
        detailed: The events about received messages with details, by message id.
    """
    return [
        detailed.get(event.subject_id, event)
        if event_filter.reads_messages and event.subject_id is not None
        else event
        for event in found
        if event_filter.wants(event)
    ]


class EventHub:
    """Reads the log for all listeners of a web process.

    The application's lifespan calls ``start()`` and ``close()``. There is no ``await`` between the
    move of the hub's position and the delivery to the listeners. So a listener that starts at a
    position misses no event and gets no event twice.
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
        self._listeners: dict[EventFilter, set[StreamListener]] = {}
        self._position: LogPosition | None = None
        self._has_listeners = asyncio.Event()
        self._reading = asyncio.Lock()
        self._changed: set[UUID] = set()
        self._counted_at: dict[UUID, float] = {}
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> LogPosition:
        """The position in the event log up to which the listeners got all events.

        Raises:
            RuntimeError: The hub has no listener, so the position is unknown.
        """
        if self._position is None:
            raise RuntimeError("The hub has no listener.")
        return self._position

    async def start(self) -> None:
        """Start the task that reads the log while there are listeners."""
        self._task = asyncio.create_task(self._read_on(), name="event hub")

    def stop(self) -> None:
        """End every stream because this process stops. Clients then connect to another process."""
        self._is_closing = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()

    async def close(self) -> None:
        """End every stream and stop reading."""
        self.stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def wake(self) -> None:
        """Prepare the hub for a listener: from now on, the hub reads new events."""
        async with self._reading:
            if self._position is None:
                async with self.new_uow() as uow:
                    self._position = (await events.find_log_ends(uow)).head

    @contextmanager
    def listening(self, event_filter: EventFilter) -> Iterator[StreamListener]:
        """Register a listener for events until the ``with`` block ends.

        Await ``wake()`` immediately before the ``with`` block. The listener gets no events until
        the caller sets its ``is_live`` to True.
        """
        listener = StreamListener(event_filter)
        self._listeners.setdefault(event_filter, set()).add(listener)
        self._has_listeners.set()
        if self._is_closing:
            listener.end()
        try:
            yield listener
        finally:
            self._leave(listener)

    def _leave(self, listener: StreamListener) -> None:
        alike = self._listeners[listener.event_filter]
        alike.discard(listener)
        if not alike:
            del self._listeners[listener.event_filter]
        if not self._listeners:
            self._has_listeners.clear()
            self._position = None
            self._changed.clear()
            self._counted_at.clear()

    async def poll(self) -> bool:
        """Read the log once, and give new events to the listeners.

        Return True if the log has more new events.
        """
        async with self._reading:
            if self._position is None:
                return False
            async with self.new_uow() as uow:
                page = await events.read_new_events(uow, after=self._position)
                detailed = await self.read_details(uow, page.events, self._listeners)
            if self._position is None:  # the last listener has just left
                return False
            self._hand_out(page, detailed)
            await self._emit_counters()
        return not page.is_last

    async def read_details(
        self, uow: UnitOfWork, found: Sequence[LoggedEvent], filters: Iterable[EventFilter]
    ) -> dict[UUID, LoggedEvent]:
        """Return the ``message.received`` events in ``found``, by message id, with their details.

        The details are the message's phone number, contact and first words. The result is empty if
        no filter has ``reads_messages``.

        Args:
            uow: An open transaction.
            filters: The filters of all listeners.
        """
        if not any(one.reads_messages for one in filters):
            return {}
        return await with_message_details(uow.session, found)

    def _hand_out(self, page: LogPage, detailed: Mapping[UUID, LoggedEvent]) -> None:
        self._position = page.until
        if not page.events:
            return
        for event in page.events:
            if event.type == EventType.CAMPAIGN_COUNTERS and event.campaign_id is not None:
                self._changed.add(event.campaign_id)
        kept = [event for event in page.events if event.type != EventType.CAMPAIGN_COUNTERS]
        for event_filter in self._listeners:
            self._put(event_filter, select_events(event_filter, kept, detailed))

    async def _emit_counters(self) -> None:
        """Give the listeners the current counters of the campaigns whose counters have changed.

        The counters of one campaign are given at most once a second.
        """
        now = self._monotonic()
        lately = {one for one, at in self._counted_at.items() if now - at < COUNTERS_SECONDS}
        due = self._changed - lately
        wanted = {
            one for one in due if any(event_filter.counts(one) for event_filter in self._listeners)
        }
        counted = await self.counters(wanted) if wanted else []
        self._changed -= due
        counted_at = self._counted_at | dict.fromkeys(wanted, now)
        self._counted_at = {
            one: at for one, at in counted_at.items() if now - at < COUNTERS_SECONDS
        }
        for event_filter in self._listeners:
            own = [
                one for one in counted if one.campaign_id and event_filter.counts(one.campaign_id)
            ]
            self._put(event_filter, own)

    async def counters(self, campaign_ids: set[UUID]) -> list[LoggedEvent]:
        """Return the current counters of campaigns, as events that are not stored in the log."""
        async with self.new_uow() as uow:
            found = await live_counts.count_campaigns(uow, campaign_ids=sorted(campaign_ids))
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

    def _put(self, event_filter: EventFilter, chosen: Sequence[LoggedEvent]) -> None:
        if not chosen:
            return
        chunk = self.write(chosen)
        for listener in self._listeners[event_filter]:
            listener.put(chunk)

    async def _read_on(self) -> None:
        while True:
            await self._has_listeners.wait()
            try:
                has_more = await self.poll()
            except Exception as error:  # noqa: BLE001 - the task must survive an outage
                log.warning("event log could not be read", error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            # If there is more to read, the loop does not pause. But `sleep(0)` lets other tasks
            # run.
            await asyncio.sleep(0 if has_more else self._poll_seconds)
