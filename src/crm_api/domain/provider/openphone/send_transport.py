"""The HTTP transport of the requests that send messages: HTTP/1.1 over kept connections.

Such a request is a POST with a known length and a short response, without redirects, cookies or a
proxy. This transport does only that. httpx over aiohttp took 0.28 ms of the 0.39 ms of CPU time
that a worker needed for a message (2026-11-29, two cores).

It never sends a request twice. It asks for the request's body only when a connection is open, and
then writes headers and body together.
"""

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from functools import cached_property
from typing import cast

import httpx
from aiohappyeyeballs import start_connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from crm_api.domain.provider.openphone.bounded import MOST_BYTES_OF_SEND, AnswerTooLongError

NEXT_ADDRESS_SECONDS = 0.25
"""When the next address of a host is tried too, if the one before has not answered.

Source: RFC 8305, section 8, read 2026-11-29.
"""
_FIRST_FINAL = 200
"""A response with a lower status is interim; another one follows."""


class SendTransport(httpx.AsyncBaseTransport):
    """Sends each request once, to one host, over its own pool of connections.

    The extension ``timeout`` of a request limits the wait for a free connection (``pool``) and the
    opening of a connection (``connect``), in seconds. The caller limits the whole request.
    """

    def __init__(self, base_url: str, *, max_connections: int, keepalive_seconds: float) -> None:
        """Create a transport; no connection is opened before the first request.

        Args:
            base_url: The URL of the host; every request is sent to it.
            max_connections: Maximum number of open connections.
            keepalive_seconds: How many seconds an idle connection stays open.
        """
        self._url = httpx.URL(base_url)
        self._keepalive_seconds = keepalive_seconds
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: deque[_Connection] = deque()
        self._cleaning: asyncio.TimerHandle | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, whose body may still have to be read.

        Raises:
            httpx.HTTPError: The request was not sent, or no whole response arrived.
        """
        head = _head(request)
        timeouts = request.extensions["timeout"]
        await self._take_slot(timeouts["pool"])
        connection: _Connection | None = None
        try:
            connection = self._take_idle() or await self._connect(timeouts["connect"])
            await connection.send(head, cast("httpx.AsyncByteStream", request.stream))
            await connection.receive_headers()
        except BaseException:
            self._release(connection, is_over=False)
            raise
        if connection.is_complete and not connection.is_encoded:
            self._release(connection)
            return httpx.Response(
                connection.status, headers=connection.headers, content=bytes(connection.body)
            )
        return httpx.Response(
            connection.status, headers=connection.headers, stream=_Rest(self, connection)
        )

    async def aclose(self) -> None:
        """Close the idle connections; the others end with their requests."""
        self._keepalive_seconds = 0.0
        self._close_idle()

    @cached_property
    def _authorities(self) -> ssl.SSLContext:
        """The authorities whose certificates are accepted: those of the system."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _take_slot(self, seconds: float) -> None:
        if self._slots.locked():
            try:
                async with asyncio.timeout(seconds):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("No connection became free.") from error
        else:
            await self._slots.acquire()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if time.monotonic() - connection.idle_since > self._keepalive_seconds:
                connection.close()
            elif connection.is_reusable:
                return connection
        return None

    async def _connect(self, seconds: float) -> "_Connection":
        loop, url = asyncio.get_running_loop(), self._url
        is_secure = url.scheme == "https"
        try:
            async with asyncio.timeout(seconds):
                addresses = await loop.getaddrinfo(
                    url.host,
                    url.port or (443 if is_secure else 80),
                    type=socket.SOCK_STREAM,
                )
                sock = await start_connection(
                    addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
                )
                _, connection = await loop.create_connection(
                    _Connection,
                    sock=sock,
                    ssl=self._authorities if is_secure else None,
                    server_hostname=url.raw_host.decode() if is_secure else None,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("The connection was not opened in time.") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    def _release(self, connection: "_Connection | None", *, is_over: bool = True) -> None:
        """Free the slot of a request. Keep its connection if the request is over, else close it."""
        self._slots.release()
        if connection is None:
            return
        if not is_over or not connection.is_reusable or self._keepalive_seconds <= 0:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        if self._cleaning is None:
            loop = asyncio.get_running_loop()
            self._cleaning = loop.call_later(self._keepalive_seconds, self._close_idle)

    def _close_idle(self) -> None:
        """Close the connections that were idle for too long, and do so again later."""
        if self._cleaning is not None:
            self._cleaning.cancel()
            self._cleaning = None
        oldest = time.monotonic() - self._keepalive_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        if self._idle:
            self._cleaning = asyncio.get_running_loop().call_later(
                self._idle[0].idle_since - oldest, self._close_idle
            )


class _Connection(asyncio.Protocol):
    """A connection, and the response to its latest request.

    Attributes:
        is_complete: True if the whole response has arrived.
        is_reusable: True if another request may be sent over the connection.
        idle_since: When the latest request ended, by the monotonic clock.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._change: asyncio.Future[None] | None = None
        self._error: httpx.HTTPError | None = None
        self._received = 0
        self._has_headers = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.is_complete = True
        self.is_reusable = True
        self.idle_since = 0.0

    @property
    def is_encoded(self) -> bool:
        """True if the body of the response is compressed."""
        return any(name.lower() == b"content-encoding" for name, _ in self.headers)

    async def send(self, head: bytes, body: httpx.AsyncByteStream) -> None:
        """Write a request: its headers together with the first part of its body.

        Raises:
            httpx.HTTPError: The connection is closed.
        """
        if self._error is not None or self._transport is None:
            raise self._error or httpx.ConnectError("The connection is not open.")
        self.status, self.headers, self.body, self._received = 0, [], bytearray(), 0
        self.is_complete = self._has_headers = False
        async for part in body:
            self._transport.write(head + part)
            head = b""

    async def receive_headers(self) -> None:
        """Wait for the headers of the final response.

        Raises:
            AnswerTooLongError: The response is longer than ``MOST_BYTES_OF_SEND``.
            httpx.ReadError: The connection broke, or the response is not HTTP.
        """
        while not self._has_headers:
            await self._wait()

    async def receive_rest(self) -> None:
        """Wait for the end of the response.

        Raises:
            AnswerTooLongError: The response is longer than ``MOST_BYTES_OF_SEND``.
            httpx.ReadError: The connection broke, or the response is not HTTP.
        """
        while not self.is_complete:
            await self._wait()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._change = self._loop.create_future()
        try:
            await self._change
        finally:
            self._change = None

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def close(self) -> None:
        """Close the connection at once."""
        self._fail("The connection was closed.")

    def _fail(self, reason: str, *, kind: type[httpx.HTTPError] = httpx.ReadError) -> None:
        self.is_reusable = False
        if self._error is None:
            self._error = kind(reason)
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc) if exc else "The connection was closed by the other side.")

    def eof_received(self) -> None:
        has_length = any(
            name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self.headers
        )
        if self._has_headers and not has_length:
            self.is_complete = True  # such a response ends with the connection
        self._fail("The connection was closed by the other side.")

    def data_received(self, data: bytes) -> None:
        if self.is_complete:
            self._fail("Bytes arrived that belong to no request.")
            return
        self._received += len(data)
        if self._received > MOST_BYTES_OF_SEND:
            self._fail("The response is too long.", kind=AnswerTooLongError)
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(f"The response is not HTTP/1.1: {error}")

    # The parser calls the methods below. It stops and reports an error if one of them raises.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("Bytes arrived that belong to no request.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < _FIRST_FINAL:
            self.headers = []
            return
        self._has_headers = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self._has_headers:
            self.is_complete = True
            self.is_reusable = self.is_reusable and bool(self._parser.should_keep_alive())
            self._wake()


class _Rest(httpx.AsyncByteStream):
    """The body of a response that had not arrived together with its headers, or is compressed."""

    def __init__(self, pool: SendTransport, connection: _Connection) -> None:
        self._pool = pool
        self._connection = connection
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._connection.receive_rest()
        yield bytes(self._connection.body)

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._pool._release(self._connection, is_over=self._connection.is_complete)  # noqa: SLF001 - its own pool


def _head(request: httpx.Request) -> bytes:
    """Return the request line and the headers.

    Raises:
        httpx.LocalProtocolError: A header contains a line break.
    """
    fields = request.headers.raw
    lines = [b"%s: %s\r\n" % field for field in fields]
    head = b"%s %s HTTP/1.1\r\n%s\r\n" % (
        request.method.encode(),
        request.url.raw_path,
        b"".join(lines),
    )
    if head.count(b"\n") != len(fields) + 2 or head.count(b"\r") != len(fields) + 2:
        raise httpx.LocalProtocolError("A header contains a line break.")
    return head
