"""Format events as server-sent events, and send them as a streaming response."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress

import structlog
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Send

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.event_log import LoggedEvent, LogPosition
from crm_api.domain.outbound.live_events.streamed_events import EventRead
from crm_api.routers.outbound.event_following import StreamMarks

log = structlog.get_logger()

RETRY_MILLISECONDS = 2_000
SLOW_SECONDS = 30.0
"""A stream is closed if its caller receives nothing for this time."""
LAST_SECONDS = 1.0
"""Time limit for sending the end of a stream to its caller."""
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers that make proxies forward each event immediately."""


def write_events(events: Sequence[LoggedEvent]) -> bytes:
    """Format events as server-sent events.

    The id of an event is its position in the log, from which a stream can continue. An event that
    is not stored has no id.
    """
    return b"".join(_frame(event) for event in events)


def _frame(event: LoggedEvent) -> bytes:
    shown = EventRead(
        type=EventType(event.type),
        timestamp=event.recorded_at,
        subject_id=event.subject_id,
        campaign_id=event.campaign_id,
        data=event.data,
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
        data_str='{"type":"reset","detail":"The events after your last one are no longer stored. '
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
            access: Returns the context in which chunks are sent. When the caller loses its access,
                the context ends the sending.
            slow_seconds: Maximum seconds that the caller may take to receive one chunk.
        """
        super().__init__(chunks, headers=HEADERS)
        self._access = access
        self._slow_seconds = slow_seconds

    async def stream_response(self, send: Send) -> None:
        """Send chunks until they end or the caller loses its access; then close the generator."""
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
