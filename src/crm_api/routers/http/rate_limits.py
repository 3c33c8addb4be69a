"""Limit the requests per second of each caller, over all web processes together.

Redis counts the requests in windows of one second. While Redis is unavailable, requests are not
limited. The response header ``RateLimit-Policy`` contains the limit and the window; ``RateLimit``
contains the requests that are left in the window.

Source: IETF draft "RateLimit header fields for HTTP", version 10, read 2026-11-26.
"""

import time
from dataclasses import dataclass
from typing import Any, cast

import structlog
from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.kit.errors import Example, RateLimitedError, UnauthenticatedError
from crm_api.platform.redis_server import RedisServer
from crm_api.platform.request_context import network_of
from crm_api.routers.http import problems
from crm_api.routers.http.deps import identify

log = structlog.get_logger()

WINDOW_SECONDS = 1
LIMITED = ("/v1/", "/calendar/")
"""Prefixes of the paths whose requests are limited. Webhooks of the provider are not limited, so
that no event is lost. Calendar programs send no credentials, so their requests are counted for each
network address."""
POLICY = "caller"
AWAY_SECONDS = 5.0
"""How many seconds Redis is not used after an error, so that requests do not wait for its
timeout."""
ANSWER_SECONDS = 0.25
"""Timeout of a Redis command in seconds. It is short, because every API request waits for such a
command."""


class TooManyRequestsError(RateLimitedError):
    """The caller has sent more requests in a second than the rate limit allows."""

    code = "too_many_requests"
    title = "Too many requests"
    example = Example(
        "You have sent more than 100 requests within 1 s. Wait 1 s, then send the request again."
    )


@dataclass(frozen=True)
class Left:
    """How many requests a caller may still send in the current window.

    Attributes:
        quota: The largest number of requests per window.
        left: The number of requests that remain; negative if the caller has exceeded the limit.
        window_seconds: The length of the window in seconds.
    """

    quota: int
    left: int
    window_seconds: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The response headers ``RateLimit-Policy`` and ``RateLimit``."""
        left = max(self.left, 0)
        return [
            (b"ratelimit-policy", f'"{POLICY}";q={self.quota};w={self.window_seconds}'.encode()),
            (b"ratelimit", f'"{POLICY}";r={left};t={self.window_seconds}'.encode()),
        ]


class RequestRate:
    """Counts the requests of each caller in Redis.

    The first request opens a connection. When the application stops, it calls ``close()``.
    """

    def __init__(self, redis_url: str, *, quota: int, window_seconds: int = WINDOW_SECONDS) -> None:
        """Create the counter without opening a connection.

        Args:
            redis_url: URL of Redis.
            quota: The largest number of requests per caller and window; 0 means no limit.
            window_seconds: Length of a window. A new window begins with the first request that the
                caller sends after the end of the previous window.
        """
        self._quota = quota
        self._window_seconds = window_seconds
        self._pool = _pool(redis_url)
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="crm:rate",
            # The library declares this parameter with the type of another library's pool.
            connection_pool=cast("Any", self._pool),
        )
        self._away_until = 0.0

    async def take(self, caller: str) -> Left | None:
        """Count one request of the caller, and return how many more the caller may send for now.

        The result is for the current window (the period in which requests are counted). If no limit
        is set or Redis is unavailable, the request is not limited, and the result is None.
        """
        if self._quota == 0 or time.monotonic() < self._away_until:
            return None
        try:
            count = await self._storage.incr(caller, self._window_seconds)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning(
                "rate limit paused because Redis is unavailable", error=type(error).__name__
            )
            return None
        return Left(self._quota, self._quota - count, self._window_seconds)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._pool.disconnect()


class RateLimitMiddleware:
    """ASGI middleware that limits the requests of each caller.

    A refused request costs little: the middleware looks up the caller, and nothing else runs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request; pass it on, or respond with 429 if the caller is over the limit."""
        if scope["type"] != "http" or not scope["path"].startswith(LIMITED):
            await self.app(scope, receive, send)
            return
        rate: RequestRate | None = getattr(scope["app"].state, "rate", None)
        left = None if rate is None else await rate.take(await _payer(scope))
        if left is None:
            await self.app(scope, receive, send)
            return
        extra = left.headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        if left.left >= 0:
            await self.app(scope, receive, send_with_headers)
            return
        error = TooManyRequestsError(
            f"You have sent more than {left.quota} requests within {left.window_seconds} s. Wait "
            f"{left.window_seconds} s, then send the request again.",
            retry_after_seconds=left.window_seconds,
        )
        answer = await problems.on_crm_error(Request(scope), error)
        await answer(scope, receive, send_with_headers)


async def _payer(scope: Scope) -> str:
    """Return the name under which a request is counted.

    The name contains the id of the API key or user. If the caller is unknown, it contains the
    client's network. All sessions of a user are counted together. The name contains no secret,
    because Redis stores it.
    """
    try:
        caller = await identify(scope)
    except Exception as error:
        if not isinstance(error, UnauthenticatedError) and not problems.database_is_away(error):
            raise
        client = scope.get("client")
        return f"address:{network_of(client[0] if client else '')}"
    return f"caller:{caller.id}"


def _pool(url: str) -> ConnectionPool:
    server = RedisServer.from_url(url)
    options: dict[str, Any] = {
        "username": server.username,
        "password": server.password,
        "db": server.database,
        "socket_timeout": ANSWER_SECONDS,
    }
    if server.socket is not None:
        return ConnectionPool(UnixDomainSocketConnection, path=server.socket, **options)
    options |= {"host": server.host, "port": server.port, "socket_connect_timeout": ANSWER_SECONDS}
    if server.tls is not None:
        return ConnectionPool(SSLConnection, **server.tls, **options)
    return ConnectionPool(**options)
