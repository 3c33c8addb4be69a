"""Stream events to one listener as server-sent events.

A stream begins with the events that the listener has missed. They are read from the log. Then new
events follow.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass
from uuid import UUID

import structlog
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Send

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.domain.outbound.live_events.event_filter import EventFilter, stream_data
from crm_api.domain.outbound.live_events.event_log import EventRead, LoggedEvent, LogPosition
from crm_api.routers.outbound.event_hub import EventHub, StreamListener, select_events

HEARTBEAT_SECONDS = 15.0
"""If a stream sends nothing for this many seconds, it sends a heartbeat. This time is shorter than
the idle time-out of most proxies."""
LONGEST_SECONDS = 1800.0
"""Maximum duration of a stream. Then the caller reconnects, perhaps to another process."""


@dataclass(frozen=True, kw_only=True)
class StreamMarks:
    """Functions that format what a stream contains besides events.

    Each function gets the position up to which the ``EventHub`` of this process has read the event
    log.

    Attributes:
        hello: Formats the start of a stream.
        reset: Formats the start of a stream if events that the client missed are no longer stored.
            The client must then load all its data again.
        heartbeat: Formats a heartbeat.
    """

    hello: Callable[[LogPosition], bytes]
    reset: Callable[[LogPosition], bytes]
    heartbeat: Callable[[LogPosition], bytes]


async def stream_events(
    hub: EventHub,
    *,
    event_filter: EventFilter,
    after: LogPosition | None,
    marks: StreamMarks,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> AsyncIterator[bytes]:
    """Yield the chunks of an event stream.

    The stream ends after ``longest_seconds``, or earlier if the client reads too slowly.

    Args:
        hub: The event hub of this process, which must be started.
        after: The position of the last event that the client got; None begins with new events.
        heartbeat_seconds: Seconds of silence after which a heartbeat is sent.
    """
    ends_at = time.monotonic() + longest_seconds
    await hub.wake()
    with hub.listening(event_filter) as listener:
        changed: set[UUID] = set()
        has_missed = after is not None and not await _is_readable(hub, after)
        if after is not None and not has_missed:
            async for chunk in _catch_up(hub, listener, after=after, changed=changed):
                yield chunk
        # This is set before the first chunk is sent, so that no event that happens during the
        # sending is missed.
        listener.is_live = True
        begin = marks.reset if has_missed else marks.hello
        yield begin(hub.position)
        if event_filter.campaign_id is not None and event_filter.counts(event_filter.campaign_id):
            changed.add(event_filter.campaign_id)
        if changed:
            yield hub.write(await hub.counters(changed))
        while not listener.is_over and time.monotonic() < ends_at:
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    chunk = await listener.take()
            except TimeoutError:
                if listener.is_empty:
                    yield marks.heartbeat(hub.position)
                continue
            if chunk:
                yield chunk


async def _is_readable(hub: EventHub, after: LogPosition) -> bool:
    """Return whether the position is in the log, and every event after it is still stored."""
    async with hub.new_uow() as uow:
        ends = await events.find_log_ends(uow)
    if after > ends.head or (ends.horizon is not None and after < ends.horizon):
        return False
    while hub.position < after:  # another process has read more events than this process
        await hub.poll()
    return True


async def _catch_up(
    hub: EventHub, listener: StreamListener, *, after: LogPosition, changed: set[UUID]
) -> AsyncIterator[bytes]:
    """Yield the stored events after ``after``, up to the position of the event hub.

    Events of the type ``campaign.counters`` are not yielded. If the listener wants such an event,
    the campaign of the event is added to ``changed``.

    This function awaits nothing after it has reached the hub's position. So the caller can set
    ``listener.is_live`` before the hub reads more events, and no event is missed.
    """
    while after < (until := hub.position):
        async with hub.new_uow() as uow:
            page = await events.read_event_span(uow, after=after, until=until)
            detailed = await hub.read_details(uow, page.events, [listener.event_filter])
        after = page.until
        kept = []
        for event in page.events:
            if event.type != EventType.CAMPAIGN_COUNTERS:
                kept.append(event)
            elif event.campaign_id is not None and listener.event_filter.counts(event.campaign_id):
                changed.add(event.campaign_id)
        wanted = select_events(listener.event_filter, kept, detailed)
        if wanted:
            yield hub.write(wanted)


log = structlog.get_logger()

RETRY_MILLISECONDS = 2_000
SLOW_SECONDS = 30.0
"""A stream is closed if its caller takes longer than this to receive one chunk."""
LAST_SECONDS = 1.0
"""Time limit for sending the end of a stream to its caller."""
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers that make proxies forward each event immediately."""


def write_events(events: Sequence[LoggedEvent]) -> bytes:
    """Format events as server-sent events.

    The id of an event is its position in the log. A client that reconnects sends the last id that
    it got, and the new stream continues after this id. An event that is not stored in the log has
    no id.
    """
    return b"".join(_frame(event) for event in events)


def _frame(event: LoggedEvent) -> bytes:
    shown = EventRead(
        type=EventType(event.type),
        timestamp=event.recorded_at,
        subject_id=event.subject_id,
        campaign_id=event.campaign_id,
        data=stream_data(event),
    )
    return format_sse_event(
        event=event.type,
        data_str=shown.model_dump_json(),
        id=None if event.position is None else str(event.position),
    )


def _hello(position: LogPosition) -> bytes:
    return format_sse_event(comment="listening", id=str(position), retry=RETRY_MILLISECONDS)


def _reset(position: LogPosition) -> bytes:
    return format_sse_event(
        event="reset",
        data_str='{"type":"reset","detail":"Events after your last event are no longer stored. '
        'Load your data again; the stream continues with new events."}',
        id=str(position),
        retry=RETRY_MILLISECONDS,
    )


def _heartbeat(position: LogPosition) -> bytes:
    return format_sse_event(comment="heartbeat", id=str(position))


MARKS = StreamMarks(hello=_hello, reset=_reset, heartbeat=_heartbeat)


class EventStreamResponse(EventSourceResponse):
    """Sends chunks until the chunks end, the caller is too slow, or the caller loses its access."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        access: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        """Prepare the response; nothing is sent yet.

        Args:
            chunks: The formatted events.
            access: Returns a context manager in which the chunks are sent. The context manager
                ends the sending when the caller loses its access.
            slow_seconds: Maximum seconds that the caller may take to receive one chunk.
        """
        super().__init__(chunks, headers=HEADERS)
        self._access = access
        self._slow_seconds = slow_seconds

    async def stream_response(self, send: Send) -> None:
        """Send chunks until they end, the caller is too slow, or the caller loses its access.

        Then close the iterator that yields the chunks.
        """
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        is_slow = False
        async with self._access():
            is_slow = await self._send_chunks(send)
        if not is_slow:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, send: Send) -> bool:
        """Send all chunks; return True if the caller does not receive them in time."""
        async with aclosing(self.body_iterator) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(self._slow_seconds):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    log.info("event stream closed: the client is too slow")
                    return True
        return False
