"""How many requests a second a caller may send: counted in Redis, for all web processes together.

Redis holds no truth, so the limit falls open: while Redis is away, requests are not counted. The
headers are those of the IETF's draft "RateLimit header fields for HTTP" (version 10, read
2026-11-26): ``RateLimit-Policy`` says the quota and its window, ``RateLimit`` what is left of it.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any, cast

import structlog
from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.errors import RateLimitedError
from crm_api.redis_server import RedisServer
from crm_api.routers import problems

log = structlog.get_logger()

WINDOW_SECONDS = 1
LIMITED = "/v1/"
"""The receiver of webhooks is not limited: what the provider says must not be lost."""
POLICY = "caller"
AWAY_SECONDS = 5.0
"""How long Redis is left alone after it failed, so that no request waits for it meanwhile."""
ANSWER_SECONDS = 0.25
"""A slower Redis is as good as none."""


class TooManyRequestsError(RateLimitedError):
    """The caller has used up this second's requests."""

    code = "too_many_requests"
    title = "Too many requests"


@dataclass(frozen=True)
class Left:
    """What is left of a caller's requests in this window; negative when it is overdrawn."""

    quota: int
    left: int
    window_seconds: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields that tell it."""
        left = max(self.left, 0)
        return [
            (b"ratelimit-policy", f'"{POLICY}";q={self.quota};w={self.window_seconds}'.encode()),
            (b"ratelimit", f'"{POLICY}";r={left};t={self.window_seconds}'.encode()),
        ]


class RequestRate:
    """Counts requests in Redis.

    ``close()`` belongs to the application's lifespan; connections are made when first needed.
    """

    def __init__(self, redis_url: str, *, quota: int, window_seconds: int = WINDOW_SECONDS) -> None:
        """Prepare to count.

        Args:
            redis_url: As the setting.
            quota: Requests a window a caller; 0 does not limit.
            window_seconds: How long a window is; it begins with a caller's first request.
        """
        self._quota = quota
        self._window_seconds = window_seconds
        self._pool = _pool(redis_url)
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="crm:rate",
            connection_pool=cast("Any", self._pool),  # typed as one of another library's
        )
        self._away_until = 0.0

    async def take(self, caller: str) -> Left | None:
        """Count one request; None when nothing is counted."""
        if self._quota == 0 or time.monotonic() < self._away_until:
            return None
        try:
            count = await self._storage.incr(caller, self._window_seconds)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("requests not counted: Redis is away", error=type(error).__name__)
            return None
        return Left(self._quota, self._quota - count, self._window_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()


class RateLimitMiddleware:
    """Plain ASGI; refuses before anything is asked of the database."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or not scope["path"].startswith(LIMITED):
            await self.app(scope, receive, send)
            return
        rate: RequestRate | None = getattr(scope["app"].state, "rate", None)
        left = None if rate is None else await rate.take(_caller(scope))
        if left is None:
            await self.app(scope, receive, send)
            return
        extra = left.headers

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        if left.left >= 0:
            await self.app(scope, receive, send_told)
            return
        error = TooManyRequestsError(
            f"More than {left.quota} requests came within {left.window_seconds} s. Wait so long, "
            "and send fewer.",
            retry_after_seconds=left.window_seconds,
        )
        answer = await problems.on_crm_error(Request(scope), error)
        await answer(scope, receive, send_told)


def _caller(scope: Scope) -> str:
    """Name who calls by what they sent, before it is looked up; no secret goes to Redis."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return hashlib.sha256(value).hexdigest()[:32]
    client = scope.get("client")
    return f"address:{client[0] if client else ''}"


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
