"""Sends over real sockets: broken connections are classified, and a late body is not sent."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import orjson
import pytest
from tests.domain.provider.openphone.samples import check_request, check_response

from crm_api.dev.sandbox.app import RunningSandbox, run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.wire_format import OWNER
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.domain.provider.openphone.sending import GateClock

PERSON = "+16175550123"
LINE = "PNsandbox1"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    config = SandboxConfig(people="silent", rate_per_second=None, slow_seconds=5)
    with run_sandbox(config) as sandbox:
        yield sandbox


@pytest.fixture
def served(running: RunningSandbox) -> RunningSandbox:
    httpx.post(f"{running.url}/sandbox/reset").raise_for_status()
    return running


def _cause_fault(served: RunningSandbox, kind: str, **more: object) -> None:
    httpx.post(f"{served.url}/sandbox/faults", json={"kind": kind, **more}).raise_for_status()


def _accepted(served: RunningSandbox) -> int:
    return int(httpx.get(f"{served.url}/sandbox/stats").json()["accepted"])


@contextlib.asynccontextmanager
async def _client(url: str) -> AsyncIterator[OpenPhoneClient]:
    async with OpenPhoneClient(base_url=url, api_key="key") as client:
        yield client


async def _send(
    client: OpenPhoneClient, *, gate: GateClock | None = None, **times: float
) -> SendResponse:
    return await client.send_message(
        sender=LINE,
        to=PERSON,
        text="Hi Dana, visit on Tuesday?",
        media_urls=(),
        gate=gate or GateClock.start(),
        **({"call_timeout": 5.0} | times),
    )


async def test_message_is_accepted(served: RunningSandbox) -> None:
    async with _client(served.url) as client:
        answer = await _send(client)

    assert answer.kind is ResponseKind.ACCEPTED
    assert answer.provider_message_id in served.app.workspace.store.by_id
    assert answer.provider_user_id == OWNER
    assert answer.server_date is not None


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        ("429", ResponseKind.LATER, 0),
        ("400", ResponseKind.REFUSED, 0),
        ("403_international", ResponseKind.REFUSED, 0),
        ("400_a2p", ResponseKind.ACCOUNT_REFUSED, 0),
        ("401", ResponseKind.ACCOUNT_REFUSED, 0),
        ("402", ResponseKind.ACCOUNT_REFUSED, 0),
        ("403_cap", ResponseKind.ACCOUNT_REFUSED, 0),
        ("404", ResponseKind.ACCOUNT_REFUSED, 0),
        ("500_before", ResponseKind.UNCLEAR, 0),
        ("500_after", ResponseKind.UNCLEAR, 1),
        ("202_without_id", ResponseKind.UNCLEAR, 1),
        ("reset_before", ResponseKind.UNCLEAR, 0),
        ("reset_after", ResponseKind.UNCLEAR, 1),
    ],
)
async def test_fault_is_classified_and_the_request_is_not_repeated(
    served: RunningSandbox, fault: str, kind: ResponseKind, accepted: int
) -> None:
    async with _client(served.url) as client:
        # This first message opens a connection. If a reused connection fails, some HTTP clients
        # repeat the request on a new connection.
        await _send(client)
        _cause_fault(served, fault)

        answer = await _send(client)

    assert answer.kind is kind
    assert _accepted(served) == 1 + accepted
    assert PERSON not in repr(answer)


@pytest.mark.parametrize(("fault", "accepted"), [("hang", 0), ("hang_after", 1), ("slow", 1)])
async def test_missing_response_is_unclear(
    served: RunningSandbox, fault: str, accepted: int
) -> None:
    _cause_fault(served, fault)
    async with _client(served.url) as client:
        answer = await _send(client, call_timeout=0.6)

    assert (answer.kind, answer.code) == (ResponseKind.UNCLEAR, "timeout")
    assert _accepted(served) == accepted


async def test_closed_port_is_not_connected() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with _client(f"http://127.0.0.1:{port}") as client:
        answer = await _send(client)

    assert answer.kind is ResponseKind.NOT_CONNECTED


async def test_unknown_host_is_not_connected() -> None:
    async with _client("http://nowhere.invalid") as client:
        answer = await _send(client)

    assert answer.kind is ResponseKind.NOT_CONNECTED


async def test_full_pool_is_not_connected(served: RunningSandbox) -> None:
    _cause_fault(served, "hang")
    async with OpenPhoneClient(base_url=served.url, api_key="key", max_connections=1) as client:
        hung = asyncio.create_task(_send(client, call_timeout=1.0))
        await asyncio.sleep(0.1)
        waiting = await _send(client, call_timeout=0.2)
        first = await hung

    assert first.kind is ResponseKind.UNCLEAR
    assert waiting.kind is ResponseKind.NOT_CONNECTED


@pytest.mark.parametrize(
    ("stopped", "slept"), [(1.5, 0.0), (0.0, 1.5)], ids=["process stopped", "machine slept"]
)
async def test_late_body_is_never_sent(
    served: RunningSandbox, stopped: float, slept: float
) -> None:
    gate = GateClock(time.monotonic() - stopped, time.time() - slept)
    async with _client(served.url) as client:
        answer = await _send(client, gate=gate)

    assert answer.kind is ResponseKind.TOO_LATE
    assert _accepted(served) == 0


async def test_body_is_sent_within_the_call_start_of_the_caller(
    served: RunningSandbox,
) -> None:
    gate = GateClock(time.monotonic() - 2, time.time() - 2)
    async with _client(served.url) as client:
        answer = await _send(client, gate=gate, call_start=60.0)

    assert answer.kind is ResponseKind.ACCEPTED


async def test_late_request_sends_no_byte_of_the_body() -> None:
    received = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            received.extend(chunk)
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with _client(f"http://127.0.0.1:{port}") as client:
            answer = await _send(
                client, gate=GateClock(time.monotonic() - 2, time.time() - 2), call_timeout=1
            )
        await asyncio.sleep(0.05)

    assert answer.kind is ResponseKind.TOO_LATE
    assert b"Dana" not in received


async def test_incomplete_response_is_unclear() -> None:
    async def send_half_a_response(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(send_half_a_response, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with _client(f"http://127.0.0.1:{port}") as client:
            answer = await _send(client)

    assert answer.kind is ResponseKind.UNCLEAR


async def test_response_that_is_not_http_is_unclear() -> None:
    async def send_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"what?\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(send_garbage, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with _client(f"http://127.0.0.1:{port}") as client:
            answer = await _send(client)

    assert answer.kind is ResponseKind.UNCLEAR


async def test_cancelled_send_raises_cancelled_error(served: RunningSandbox) -> None:
    _cause_fault(served, "hang")
    async with _client(served.url) as client:
        task = asyncio.create_task(_send(client))
        await asyncio.sleep(0.1)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task


async def test_request_and_response_match_the_description_of_the_provider() -> None:
    seen: list[httpx.Request] = []
    shown = {
        "id": "AC1",
        "to": [PERSON],
        "from": "+16175550100",
        "text": "Hi Dana, visit on Tuesday?",
        "phoneNumberId": LINE,
        "conversationId": "CN1",
        "direction": "outgoing",
        "userId": "US1",
        "status": "queued",
        "createdAt": "2026-11-25T15:00:00.000Z",
        "updatedAt": "2026-11-25T15:00:00.000Z",
    }

    async def provider(request: httpx.Request) -> httpx.Response:
        await request.aread()
        seen.append(request)
        return httpx.Response(202, json={"data": shown})

    client = OpenPhoneClient(
        base_url="https://api.quo.com", api_key="bare", transport=httpx.MockTransport(provider)
    )
    async with client:
        await _send(client)

    (request,) = seen
    check_request("POST /v1/messages", orjson.loads(request.content))
    check_response("POST /v1/messages", 202, {"data": shown})
    assert str(request.url) == "https://api.quo.com/v1/messages"
    assert request.headers["authorization"] == "bare"
    assert request.headers["user-agent"] == "crm-api"
    assert request.headers["content-length"] == str(len(request.content))
    assert "transfer-encoding" not in request.headers
