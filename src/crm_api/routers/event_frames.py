"""Events as server-sent events, and the answer that sends them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import structlog
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Send

from crm_api.domain.events.following import Marks
from crm_api.domain.events.log import LoggedEvent
from crm_api.domain.events.positions import Position
from crm_api.domain.events.schemas import EventRead, EventType

log = structlog.get_logger()

RETRY_MILLISECONDS = 2_000
SLOW_SECONDS = 30.0
"""A caller that takes nothing for so long is given up."""
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Proxies pass on what comes at once."""


def write_events(events: Sequence[LoggedEvent]) -> bytes:
    """Write events; the id is where to go on from, and what is not kept has none."""
    return b"".join(_frame(event) for event in events)


def _frame(event: LoggedEvent) -> bytes:
    told = EventRead(
        type=EventType(event.type),
        timestamp=event.recorded_at,
        subject_id=event.subject_id,
        campaign_id=event.campaign_id,
        data=event.data,
    )
    return format_sse_event(
        event=event.type,
        data_str=told.model_dump_json(),
        id=None if event.position is None else str(event.position),
    )


def _hello(position: Position) -> bytes:
    return format_sse_event(comment="listening", id=str(position), retry=RETRY_MILLISECONDS)


def _reset(position: Position) -> bytes:
    return format_sse_event(
        event="reset",
        data_str='{"type":"reset","detail":"Events since your last one are no longer kept. '
        'Read anew what you show; what happens from now on follows."}',
        id=str(position),
        retry=RETRY_MILLISECONDS,
    )


def _heartbeat(position: Position) -> bytes:
    return format_sse_event(comment="heartbeat", id=str(position))


MARKS = Marks(hello=_hello, reset=_reset, heartbeat=_heartbeat)


class EventStreamResponse(EventSourceResponse):
    """Sends chunks as they come, and gives up a caller that does not take them."""

    def __init__(self, chunks: AsyncIterator[bytes], *, slow_seconds: float = SLOW_SECONDS) -> None:
        super().__init__(chunks, headers=HEADERS)
        self._slow_seconds = slow_seconds

    async def stream_response(self, send: Send) -> None:
        """Send until the chunks end; the generator is closed with the connection."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async with aclosing(self.body_iterator) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(self._slow_seconds):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    log.info("listener of events given up: it takes nothing")
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
