"""A stream for one listener: what it has missed, from the log, then what happens."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

from crm_api.domain.events import service as events
from crm_api.domain.events.hub import EventHub
from crm_api.domain.events.interest import Interest
from crm_api.domain.events.listener import Listener
from crm_api.domain.events.positions import Position
from crm_api.domain.events.schemas import EventType

HEARTBEAT_SECONDS = 15.0
"""Less than proxies wait as a rule."""
LONGEST_SECONDS = 1800.0
"""Then a stream ends and its caller comes back, so that a key that was revoked is refused."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What is sent beside events; each takes the place up to where everything is told."""

    hello: Callable[[Position], bytes]
    reset: Callable[[Position], bytes]
    """Something was missed: the caller reads anew what it shows."""
    heartbeat: Callable[[Position], bytes]


async def follow(
    hub: EventHub,
    *,
    interest: Interest,
    after: Position | None,
    marks: Marks,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> AsyncIterator[bytes]:
    """Give what is to be sent, until the listener is too slow or the time is over.

    Args:
        hub: Started.
        interest: What is told.
        after: The last event that the listener has seen; None: it begins now.
        marks: How the rest is written.
        heartbeat_seconds: After so long without anything, a sign of life.
        longest_seconds: How long it may last.
    """
    ends_at = time.monotonic() + longest_seconds
    await hub.wake()
    with hub.listening(interest) as listener:
        changed: set[UUID] = set()
        has_missed = after is not None and not await _is_readable(hub, after)
        if after is not None and not has_missed:
            async for chunk in _catch_up(hub, listener, after=after, changed=changed):
                yield chunk
        # Before anything is sent: what happens while that is under way must not be missed.
        listener.is_live = True
        begin = marks.reset if has_missed else marks.hello
        yield begin(hub.position)
        if interest.campaign_id is not None and interest.counts(interest.campaign_id):
            changed.add(interest.campaign_id)
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


async def _is_readable(hub: EventHub, after: Position) -> bool:
    """Say whether the log still has everything after the place, and knows the place."""
    async with hub.new_uow() as uow:
        ends = await events.ends(uow)
    if after > ends.head or (ends.horizon is not None and after < ends.horizon):
        return False
    while hub.position < after:  # another process has read further than this one
        await hub.poll()
    return True


async def _catch_up(
    hub: EventHub, listener: Listener, *, after: Position, changed: set[UUID]
) -> AsyncIterator[bytes]:
    """Give what stands in the log up to where the hub has come; ends with no await after that."""
    while after < (until := hub.position):
        async with hub.new_uow() as uow:
            page = await events.read_span(uow, after=after, until=until)
        after = page.until
        told = []
        for event in page.events:
            if event.type != EventType.CAMPAIGN_COUNTERS:
                told.append(event)
            elif event.campaign_id is not None and listener.interest.counts(event.campaign_id):
                changed.add(event.campaign_id)
        wanted = [event for event in told if listener.interest.wants(event)]
        if wanted:
            yield hub.write(wanted)
