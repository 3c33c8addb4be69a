"""Limit the requests per second of each caller, counted in Redis for all web processes together.

While Redis is unavailable, requests are not counted and not limited: no request may depend on
Redis. ``RateLimit-Policy`` has the quota and its window, ``RateLimit`` the requests that are left.

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
LIMITED = "/v1/"
"""The webhook receiver is outside this path and not limited: no event may be lost."""
POLICY = "caller"
AWAY_SECONDS = 5.0
"""How long Redis is not used after a failure, so that requests do not wait for it."""
ANSWER_SECONDS = 0.25
"""Timeout of Redis. A slower answer would delay every request."""


class TooManyRequestsError(RateLimitedError):
    """The caller has sent more requests than the rate limit allows."""

    code = "too_many_requests"
    title = "Too many requests"
    example = Example(
        "You sent more than 100 requests within 1 s. Wait for that time, then send fewer requests."
    )


@dataclass(frozen=True)
class Left:
    """The requests that a caller has left in this window; negative above the quota."""

    quota: int
    left: int
    window_seconds: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of an answer."""
        left = max(self.left, 0)
        return [
            (b"ratelimit-policy", f'"{POLICY}";q={self.quota};w={self.window_seconds}'.encode()),
            (b"ratelimit", f'"{POLICY}";r={left};t={self.window_seconds}'.encode()),
        ]


class RequestRate:
    """Counts requests in Redis.

    Connections are opened at first use. Call ``close()`` at the end of the application's lifespan.
    """

    def __init__(self, redis_url: str, *, quota: int, window_seconds: int = WINDOW_SECONDS) -> None:
        """Prepare to count; opens no connection.

        Args:
            redis_url: The URL from the settings.
            quota: Requests per caller and window; 0 means no limit.
            window_seconds: Length of a window. It begins with a caller's first request.
        """
        self._quota = quota
        self._window_seconds = window_seconds
        self._pool = _pool(redis_url)
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="crm:rate",
            connection_pool=cast("Any", self._pool),  # typed as a pool of another library
        )
        self._away_until = 0.0

    async def take(self, caller: str) -> Left | None:
        """Count one request; return None if there is no limit or Redis is unavailable."""
        if self._quota == 0 or time.monotonic() < self._away_until:
            return None
        try:
            count = await self._storage.incr(caller, self._window_seconds)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("requests not counted: Redis is unavailable", error=type(error).__name__)
            return None
        return Left(self._quota, self._quota - count, self._window_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()


class RateLimitMiddleware:
    """Plain ASGI; before a refusal, only the caller is read from the database."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
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
            f"You sent more than {left.quota} requests within {left.window_seconds} s. Wait for "
            "that time, then send fewer requests.",
            retry_after_seconds=left.window_seconds,
        )
        answer = await problems.on_crm_error(Request(scope), error)
        await answer(scope, receive, send_with_headers)


async def _payer(scope: Scope) -> str:
    """Return the name of the quota of a request: key or user, otherwise the client's network.

    A user has one quota for all sessions. The name contains no secret, because Redis stores it.
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
