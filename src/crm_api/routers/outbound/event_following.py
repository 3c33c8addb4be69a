"""Stream events to one listener: first the missed events from the log, then new events."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.domain.outbound.live_events.event_filter import EventFilter
from crm_api.domain.outbound.live_events.event_log import LogPosition
from crm_api.routers.outbound.event_hub import EventHub, StreamListener, select_events

HEARTBEAT_SECONDS = 15.0
"""Silence after which a heartbeat is sent; shorter than the idle time-out of most proxies."""
LONGEST_SECONDS = 1800.0
"""Maximum duration of a stream. Then the caller reconnects, perhaps to another process."""


@dataclass(frozen=True, kw_only=True)
class StreamMarks:
    """Functions that format the parts of a stream that are not events.

    The argument of each function is the position up to which the ``EventHub`` of this process has
    read the event log.

    Attributes:
        hello: Formats the start of a stream.
        reset: Formats the message after which the caller must load its data again, because events
            were missed.
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

    The stream ends when the listener is too slow or when ``longest_seconds`` have passed.

    Args:
        hub: The event hub of this process, which must be started.
        event_filter: Selects the events to send.
        after: The position of the last event that the listener got; None begins with new events.
        marks: Functions that format what is sent besides events.
        heartbeat_seconds: Seconds of silence after which a heartbeat is sent.
        longest_seconds: Maximum duration of the stream, in seconds.
    """
    ends_at = time.monotonic() + longest_seconds
    await hub.wake()
    with hub.listening(event_filter) as listener:
        changed: set[UUID] = set()
        has_missed = after is not None and not await _is_readable(hub, after)
        if after is not None and not has_missed:
            async for chunk in _catch_up(hub, listener, after=after, changed=changed):
                yield chunk
        # Set this before the first send, so that no event during that send is missed.
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
    while hub.position < after:  # another process has read further than this process
        await hub.poll()
    return True


async def _catch_up(
    hub: EventHub, listener: StreamListener, *, after: LogPosition, changed: set[UUID]
) -> AsyncIterator[bytes]:
    """Yield the stored events after ``after``, up to the position of the event hub.

    This function does not await anything after its last check of the position, so no event is
    missed. Campaigns whose counters have changed are added to ``changed``.
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
