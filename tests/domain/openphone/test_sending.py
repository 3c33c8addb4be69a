"""Sends over real sockets: what a broken connection does not tell, and the late body."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import orjson
import pytest
from tests.domain.openphone.samples import check_answer, check_request

from crm_api.domain.openphone.answers import AnswerKind, SendAnswer
from crm_api.domain.openphone.client import GateClock, OpenPhoneClient
from crm_api.sandbox.config import SandboxConfig
from crm_api.sandbox.running import RunningSandbox, run_sandbox

PERSON = "+16175550123"
LINE = "PNsandbox1"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    config = SandboxConfig(people="silent", rate_per_second=None, slow_seconds=5)
    with run_sandbox(config) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    httpx.post(f"{running.url}/sandbox/reset").raise_for_status()
    return running


def _order(sandbox: RunningSandbox, kind: str, **more: object) -> None:
    httpx.post(f"{sandbox.url}/sandbox/faults", json={"kind": kind, **more}).raise_for_status()


def _accepted(sandbox: RunningSandbox) -> int:
    return int(httpx.get(f"{sandbox.url}/sandbox/stats").json()["accepted"])


@contextlib.asynccontextmanager
async def _client(url: str) -> AsyncIterator[OpenPhoneClient]:
    async with OpenPhoneClient(base_url=url, api_key="key") as client:
        yield client


async def _send(
    client: OpenPhoneClient, *, gate: GateClock | None = None, call_timeout: float = 5.0
) -> SendAnswer:
    return await client.send_message(
        sender=LINE,
        to=PERSON,
        text="Hi Dana, visit on Tuesday?",
        gate=gate or GateClock.start(),
        call_timeout=call_timeout,
    )


async def test_text_is_accepted(sandbox: RunningSandbox) -> None:
    async with _client(sandbox.url) as client:
        answer = await _send(client)

    assert answer.kind is AnswerKind.ACCEPTED
    assert answer.provider_message_id in sandbox.app.world.store.by_id
    assert answer.provider_status == "queued"
    assert answer.server_date is not None


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        ("429", AnswerKind.LATER, 0),
        ("400", AnswerKind.REFUSED, 0),
        ("403_international", AnswerKind.REFUSED, 0),
        ("400_a2p", AnswerKind.ACCOUNT_REFUSED, 0),
        ("401", AnswerKind.ACCOUNT_REFUSED, 0),
        ("402", AnswerKind.ACCOUNT_REFUSED, 0),
        ("403_cap", AnswerKind.ACCOUNT_REFUSED, 0),
        ("404", AnswerKind.ACCOUNT_REFUSED, 0),
        ("500_before", AnswerKind.UNCLEAR, 0),
        ("500_after", AnswerKind.UNCLEAR, 1),
        ("202_without_id", AnswerKind.UNCLEAR, 1),
        ("reset_before", AnswerKind.UNCLEAR, 0),
        ("reset_after", AnswerKind.UNCLEAR, 1),
    ],
)
async def test_fault_is_told_for_what_it_is_and_never_repeated(
    sandbox: RunningSandbox, fault: str, kind: AnswerKind, accepted: int
) -> None:
    async with _client(sandbox.url) as client:
        # A connection that is kept open would tempt a client to try again on a new one.
        await _send(client)
        _order(sandbox, fault)

        answer = await _send(client)

    assert answer.kind is kind
    assert _accepted(sandbox) == 1 + accepted
    assert PERSON not in repr(answer)


@pytest.mark.parametrize(("fault", "accepted"), [("hang", 0), ("hang_after", 1), ("slow", 1)])
async def test_silence_is_unclear(sandbox: RunningSandbox, fault: str, accepted: int) -> None:
    _order(sandbox, fault)
    async with _client(sandbox.url) as client:
        answer = await _send(client, call_timeout=0.2)

    assert (answer.kind, answer.code) == (AnswerKind.UNCLEAR, "timeout")
    assert _accepted(sandbox) == accepted


async def test_closed_port_is_not_connected() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with _client(f"http://127.0.0.1:{port}") as client:
        answer = await _send(client)

    assert answer.kind is AnswerKind.NOT_CONNECTED


async def test_unknown_host_is_not_connected() -> None:
    async with _client("http://nowhere.invalid") as client:
        answer = await _send(client)

    assert answer.kind is AnswerKind.NOT_CONNECTED


async def test_full_pool_is_not_connected(sandbox: RunningSandbox) -> None:
    _order(sandbox, "hang")
    async with OpenPhoneClient(base_url=sandbox.url, api_key="key", max_connections=1) as client:
        hung = asyncio.create_task(_send(client, call_timeout=0.5))
        await asyncio.sleep(0.1)
        waiting = await _send(client, call_timeout=0.2)
        first = await hung

    assert first.kind is AnswerKind.UNCLEAR
    assert waiting.kind is AnswerKind.NOT_CONNECTED


@pytest.mark.parametrize(
    ("stood_still", "slept"), [(1.5, 0.0), (0.0, 1.5)], ids=["process stopped", "machine slept"]
)
async def test_late_body_never_leaves(
    sandbox: RunningSandbox, stood_still: float, slept: float
) -> None:
    gate = GateClock(time.monotonic() - stood_still, time.time() - slept)
    async with _client(sandbox.url) as client:
        answer = await _send(client, gate=gate)

    assert answer.kind is AnswerKind.TOO_LATE
    assert _accepted(sandbox) == 0


async def test_late_call_sends_no_byte_of_the_text() -> None:
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

    assert answer.kind is AnswerKind.TOO_LATE
    assert b"Dana" not in received


async def test_answer_that_breaks_off_is_unclear() -> None:
    async def answer_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer_half, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with _client(f"http://127.0.0.1:{port}") as client:
            answer = await _send(client)

    assert answer.kind is AnswerKind.UNCLEAR


async def test_answer_that_is_no_http_is_unclear() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"what?\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with _client(f"http://127.0.0.1:{port}") as client:
            answer = await _send(client)

    assert answer.kind is AnswerKind.UNCLEAR


async def test_cancelled_send_raises_and_stays_unknown(sandbox: RunningSandbox) -> None:
    _order(sandbox, "hang")
    async with _client(sandbox.url) as client:
        task = asyncio.create_task(_send(client))
        await asyncio.sleep(0.1)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task


async def test_request_and_answer_follow_the_description() -> None:
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
    check_answer("POST /v1/messages", 202, {"data": shown})
    assert str(request.url) == "https://api.quo.com/v1/messages"
    assert request.headers["authorization"] == "bare"
    assert request.headers["user-agent"] == "crm-api"
    assert request.headers["content-length"] == str(len(request.content))
    assert "transfer-encoding" not in request.headers
