"""Sends over the network reuse connections, and read complete and broken responses of any form."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.domain.provider.openphone.sending import MOST_BYTES_OF_SEND, GateClock

BODY = b'{"data":{"id":"AC1"}}'
ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CERTIFICATE = Path(__file__).parents[3] / "fixtures" / "smtp" / "localhost.pem"

Response = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Provider:
    """A server that returns the same response to each request.

    Attributes:
        requests: The bytes of each request.
        connections: How many connections were opened.
        has_responded: Set when a response was sent. If the response ends the connection, set when
            the connection is closed.
        is_disconnected: Set when the client has closed a connection.
    """

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    has_responded: asyncio.Event = field(default_factory=asyncio.Event)
    is_disconnected: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def provider(
    response: Response, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[Provider]:
    found = Provider()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        try:
            while True:
                found.requests.append(await reader.readuntil(b'"]}'))
                await response(writer)
                found.has_responded.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            found.is_disconnected.set()
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        found.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
        yield found


def in_parts(*parts: bytes, is_end: bool = False) -> Response:
    """Return a response that is sent in several parts, each in its own packet."""

    async def response(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        if is_end:
            writer.close()
            await writer.wait_closed()

    return response


@asynccontextmanager
async def client(
    url: str, *, max_connections: int = 64, keepalive_seconds: float = 4.0
) -> AsyncIterator[OpenPhoneClient]:
    async with OpenPhoneClient(
        base_url=url,
        api_key="key",
        max_connections=max_connections,
        keepalive_seconds=keepalive_seconds,
    ) as opened:
        yield opened


async def send(opened: OpenPhoneClient, *, call_timeout: float = 5.0) -> SendResponse:
    return await opened.send_message(
        sender="PN1",
        to="+16175550123",
        text="Hi Dana",
        gate=GateClock.start(),
        call_timeout=call_timeout,
        call_start=5.0,
    )


async def test_connection_is_reused_for_the_next_send() -> None:
    async with provider(in_parts(ACCEPTED)) as server, client(server.url) as opened:
        answers = [await send(opened) for _ in range(3)]

    assert [answer.kind for answer in answers] == [ResponseKind.ACCEPTED] * 3
    assert server.connections == 1


async def test_request_has_all_headers_and_the_body() -> None:
    async with provider(in_parts(ACCEPTED)) as server, client(server.url) as opened:
        await send(opened)

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"content":"Hi Dana","from":"PN1","to":["+16175550123"]}'
    assert set(head.lower().split(b"\r\n")) >= {
        b"post /v1/messages http/1.1",
        b"host: " + server.url.removeprefix("http://").encode(),
        b"authorization: key",
        b"user-agent: crm-api",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
    }


@pytest.mark.parametrize(
    "response",
    [
        in_parts(ACCEPTED, is_end=True),
        in_parts(ACCEPTED + b"HTTP/1.1 200 OK\r\n\r\n"),
        in_parts(ACCEPTED.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")),
    ],
    ids=["closed", "more bytes", "asked to close"],
)
async def test_connection_that_is_closed_or_has_surplus_bytes_is_not_reused(
    response: Response,
) -> None:
    async with provider(response) as server, client(server.url) as opened:
        first = await send(opened)
        await server.has_responded.wait()
        await asyncio.sleep(0.01)  # the client needs time to see that the connection is closed
        second = await send(opened)

    assert (first.kind, second.kind) == (ResponseKind.ACCEPTED, ResponseKind.ACCEPTED)
    assert server.connections == 2


async def test_idle_connection_is_closed() -> None:
    async with (
        provider(in_parts(ACCEPTED)) as server,
        client(server.url, keepalive_seconds=0.02) as opened,
    ):
        await send(opened)

        await asyncio.wait_for(server.is_disconnected.wait(), 10)


async def test_closing_the_client_closes_its_connections() -> None:
    async with provider(in_parts(ACCEPTED)) as server:
        async with client(server.url) as opened:
            await send(opened)

        await asyncio.wait_for(server.is_disconnected.wait(), 10)


async def test_no_more_connections_are_opened_than_allowed() -> None:
    async with (
        provider(in_parts(ACCEPTED)) as server,
        client(server.url, max_connections=2) as opened,
    ):
        answers = await asyncio.gather(*(send(opened) for _ in range(6)))

    assert {answer.kind for answer in answers} == {ResponseKind.ACCEPTED}
    assert server.connections == 2


@pytest.mark.parametrize(
    "response",
    [
        in_parts(*(ACCEPTED[at : at + 9] for at in range(0, len(ACCEPTED), 9))),
        in_parts(
            b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n",
            b"8\r\n" + BODY[:8] + b"\r\n",
            b"%x\r\n" % len(BODY[8:]) + BODY[8:] + b"\r\n0\r\n\r\n",
        ),
        in_parts(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", ACCEPTED),
        in_parts(b"HTTP/1.1 202 Accepted\r\n\r\n", BODY, is_end=True),
        in_parts(
            b"HTTP/1.1 202 Accepted\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s"
            % (len(gzip.compress(BODY)), gzip.compress(BODY))
        ),
    ],
    ids=["small pieces", "chunks", "interim response", "until the end", "compressed"],
)
async def test_response_in_every_transfer_form_is_read(response: Response) -> None:
    async with provider(response) as server, client(server.url) as opened:
        answer = await send(opened)

    assert (answer.kind, answer.provider_message_id) == (ResponseKind.ACCEPTED, "AC1")


LONG = b"x" * (MOST_BYTES_OF_SEND + 1)


@pytest.mark.parametrize(
    "response",
    [
        in_parts(b"HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\n{"),
        in_parts(b"HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\n{", is_end=True),
        in_parts(b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%s" % (len(LONG), LONG)),
        in_parts(
            b"HTTP/1.1 202 Accepted\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s"
            % (len(gzip.compress(LONG)), gzip.compress(LONG))
        ),
    ],
    ids=["silence", "break", "too long", "too long after decompression"],
)
async def test_success_with_an_unreadable_body_is_unclear_and_marked_as_without_id(
    response: Response,
) -> None:
    async with provider(response) as server, client(server.url) as opened:
        answer = await send(opened, call_timeout=1.5)

    assert (answer.kind, answer.no_id) == (ResponseKind.UNCLEAR, True)


async def test_refusal_with_a_too_long_body_is_classified_by_its_status() -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: %d\r\n\r\n"
    response = in_parts(head % len(LONG), LONG)
    async with provider(response) as server, client(server.url) as opened:
        answer = await send(opened)

    assert (answer.kind, answer.retry_after_seconds) == (ResponseKind.LATER, 7)


@pytest.mark.parametrize(
    "response",
    [
        in_parts(b"HTTP/1.1 202 Accepted\r\nx: " + LONG),
        in_parts(b"HTTP/1.1 2", is_end=True),
        in_parts(
            b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", is_end=True
        ),
        in_parts(b"what?\r\n\r\n"),
    ],
    ids=["endless header", "half a line", "another protocol", "not HTTP"],
)
async def test_broken_response_is_unclear(response: Response) -> None:
    async with provider(response) as server, client(server.url) as opened:
        answer = await send(opened)

    assert (answer.kind, answer.no_id) == (ResponseKind.UNCLEAR, False)
    assert len(server.requests) == 1


async def test_send_that_times_out_frees_its_place_in_the_pool_and_closes_its_connection() -> None:
    async with (
        provider(in_parts()) as server,
        client(server.url, max_connections=1) as opened,
    ):
        answers = [await send(opened, call_timeout=0.5) for _ in range(2)]

    assert [answer.kind for answer in answers] == [ResponseKind.UNCLEAR] * 2
    assert server.connections == 2


async def test_line_break_in_a_header_sends_nothing() -> None:
    async with (
        provider(in_parts(ACCEPTED)) as server,
        OpenPhoneClient(base_url=server.url, api_key="key\r\nx: y") as opened,
    ):
        answer = await send(opened)

    assert answer.kind is ResponseKind.NOT_CONNECTED
    assert server.requests == []


async def test_certificate_of_an_unknown_authority_is_not_accepted() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    async with (
        provider(in_parts(ACCEPTED), context=context) as server,
        client(server.url) as opened,
    ):
        answer = await send(opened)

    assert answer.kind is ResponseKind.NOT_CONNECTED
    assert server.requests == []
