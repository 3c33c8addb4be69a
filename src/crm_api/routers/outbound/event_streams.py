"""Limit the open event streams of each caller, and check credentials while a stream is open."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

import structlog
from fastapi import Depends, Request

from crm_api.domain.kit.errors import Example, RateLimitedError, UnauthenticatedError
from crm_api.routers.http import problems
from crm_api.routers.http.deps import AnyCaller, Caller, look_up

log = structlog.get_logger()

RETRY_AFTER_SECONDS = 30


class TooManyEventStreamsError(RateLimitedError):
    """The caller has the maximum number of open event streams."""

    code = "too_many_event_streams"
    title = "Too many event streams"
    example = Example(20)

    def __init__(self, most: int) -> None:
        super().__init__(
            f"This caller has {most} open event streams, which is the limit. Close one, or receive "
            "all event types with one stream.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )


class OpenStreams:
    """Counts the open streams of each caller in one web process."""

    def __init__(self, *, most: int) -> None:
        """Create the counter.

        Args:
            most: Maximum number of open streams of one caller.
        """
        self._most = most
        self._count: Counter[str] = Counter()

    def open(self, caller_id: str) -> None:
        """Count one more open stream of the caller.

        Raises:
            TooManyEventStreamsError: The caller has the maximum number of open streams.
        """
        if self._count[caller_id] >= self._most:
            raise TooManyEventStreamsError(self._most)
        self._count[caller_id] += 1

    def close(self, caller_id: str) -> None:
        """Subtract one from the number of the caller's open streams."""
        self._count[caller_id] -= 1
        if not self._count[caller_id]:
            del self._count[caller_id]


async def _one_stream(request: Request, caller: AnyCaller) -> AsyncIterator[None]:
    """Count one stream of the caller until the response has ended.

    Raises:
        TooManyEventStreamsError: The caller has the maximum number of open streams.
    """
    streams: OpenStreams = request.app.state.streams
    streams.open(caller.id)
    try:
        yield
    finally:
        streams.close(caller.id)


OneStream = Annotated[None, Depends(_one_stream, scope="request")]


def may_go_on(request: Request, caller: Caller) -> Callable[[], Awaitable[bool]]:
    """Return a check that the caller's credentials are still valid and have the same scopes.

    While the database is unavailable, the check returns True. That is safe, because no event can be
    read then.
    """

    async def check() -> bool:
        try:
            found = (await look_up(request.scope)).caller
        except Exception as error:
            if isinstance(error, UnauthenticatedError) or not problems.database_is_away(error):
                raise
            return True
        return found is not None and found.scopes == caller.scopes

    return check
