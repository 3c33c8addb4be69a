"""Limit the open event streams of each caller, and check credentials while a stream is open."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import structlog
from fastapi import Depends, Request

from crm_api.domain.kit.errors import Example, RateLimitedError
from crm_api.routers.http import problems
from crm_api.routers.http.credentials import bearer_token
from crm_api.routers.http.deps import AnyCaller, Caller, look_up

log = structlog.get_logger()

RETRY_AFTER_SECONDS = 30
CHECK_SECONDS = 2.0
"""Time between two checks of the same credentials. Even with a slow look-up, the stream of a
revoked key ends within five seconds."""


class TooManyEventStreamsError(RateLimitedError):
    """The caller has the maximum number of open event streams."""

    code = "too_many_event_streams"
    title = "Too many event streams"
    example = Example(20)

    def __init__(self, most: int) -> None:
        super().__init__(
            f"This caller has {most} open event streams, which is the limit. Close one of them, or "
            "receive all event types with one stream.",
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


@dataclass(eq=False)
class _StreamGroup:
    """The open streams with the same credentials, and the task that checks the credentials."""

    streams: set[asyncio.Timeout] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class AccessChecks:
    """Checks the credentials of open streams, once for all streams with the same credentials."""

    def __init__(self, *, check_seconds: float = CHECK_SECONDS) -> None:
        """Prepare the checks of credentials for the event streams of one web process.

        Args:
            check_seconds: Seconds between two checks of the same credentials.
        """
        self._check_seconds = check_seconds
        self._groups: dict[Hashable, _StreamGroup] = {}

    @asynccontextmanager
    async def while_valid(
        self, credentials: Hashable, *, is_valid: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Run the ``async with`` block; end it as soon as the credentials are no longer valid.

        The block also ends if ``is_valid`` raises an exception.

        Args:
            credentials: A value that identifies the credentials. Streams with equal values share
                one check.
            is_valid: Returns True if the credentials are still valid.
        """
        group = self._groups.get(credentials)
        if group is None:
            group = self._groups[credentials] = _StreamGroup()
            group.task = asyncio.create_task(
                self._check(credentials, group, is_valid), name="credentials of event streams"
            )
        limit = asyncio.timeout(None)
        group.streams.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            log.info("event stream closed: the credentials are no longer valid")
        finally:
            group.streams.discard(limit)
            if not group.streams:
                self._forget(credentials, group)

    async def _check(
        self, credentials: Hashable, group: _StreamGroup, is_valid: Callable[[], Awaitable[bool]]
    ) -> None:
        try:
            while True:
                await asyncio.sleep(self._check_seconds)
                if not await is_valid():
                    return
        except Exception:  # the streams end, and their clients connect again
            log.exception("credentials of event streams could not be checked")
        finally:
            now = asyncio.get_running_loop().time()
            for limit in group.streams:
                limit.reschedule(now)
            self._forget(credentials, group)

    def _forget(self, credentials: Hashable, group: _StreamGroup) -> None:
        """Stop the task that checks the group's credentials. A later stream begins a new group."""
        if self._groups.get(credentials) is group:
            del self._groups[credentials]
        if group.task is not None and group.task is not asyncio.current_task():
            group.task.cancel()


def access_of(request: Request, caller: Caller) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Return a function that creates the context manager for one event stream.

    The context manager ends the stream if the caller's credentials become invalid, or if the
    caller's scopes change. While the database is unavailable, the stream stays open. This is safe,
    because no event can be read then.
    """

    async def is_valid() -> bool:
        try:
            found = (await look_up(request.scope)).caller
        except Exception as error:
            if problems.database_is_away(error):
                return True
            raise
        return found is not None and found.scopes == caller.scopes

    checks: AccessChecks = request.app.state.access_checks
    credentials = (bearer_token(request.scope), caller.scopes)
    return partial(checks.while_valid, credentials, is_valid=is_valid)
