"""A message is sent at most once, even if the transport repeats or delays the request."""

import asyncio

import httpx
import pytest

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.domain.provider.openphone.sending import BodyTooLateError, GateClock

ACCEPTED = httpx.Response(202, json={"data": {"id": "AC1"}})


async def _send(transport: httpx.AsyncBaseTransport, *, call_timeout: float = 5.0) -> SendResponse:
    async with OpenPhoneClient(
        base_url="http://provider.test", api_key="key", transport=transport
    ) as client:
        return await client.send_message(
            sender="PNsandbox1",
            to="+16175550123",
            text="Hi Dana, visit on Tuesday?",
            gate=GateClock.start(),
            call_timeout=call_timeout,
        )


async def _read(request: httpx.Request, into: list[bytes]) -> None:
    assert isinstance(request.stream, httpx.AsyncByteStream)
    into.extend([chunk async for chunk in request.stream])


class _RepeatingTransport(httpx.AsyncBaseTransport):
    """Transport that reads the body of a request twice, as a layer that repeats requests does."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await _read(request, self.bodies)
        await _read(request, self.bodies)
        return ACCEPTED


class _LateTransport(httpx.AsyncBaseTransport):
    """Transport that reads the body of a request later, when the caller no longer waits."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.may_continue = asyncio.Event()
        self.left: asyncio.Task[None] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.left = asyncio.create_task(self._later(request))
        await asyncio.Event().wait()
        return ACCEPTED

    async def _later(self, request: httpx.Request) -> None:
        await self.may_continue.wait()
        await _read(request, self.bodies)


async def test_repeated_request_has_no_second_body() -> None:
    transport = _RepeatingTransport()

    answer = await _send(transport)

    assert len(transport.bodies) == 1
    assert answer.kind is ResponseKind.UNCLEAR


async def test_request_that_has_timed_out_gets_no_body() -> None:
    transport = _LateTransport()

    answer = await _send(transport, call_timeout=0.01)
    transport.may_continue.set()
    assert transport.left is not None
    with pytest.raises(BodyTooLateError):
        await transport.left

    assert answer.kind is ResponseKind.NOT_CONNECTED
    assert transport.bodies == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(status: int) -> None:
    asked: list[str] = []

    async def provider(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        await request.aread()
        if request.url.path == "/v1/messages":
            return httpx.Response(status, headers={"location": "http://provider.test/elsewhere"})
        return ACCEPTED

    answer = await _send(httpx.MockTransport(provider))

    assert answer.kind is ResponseKind.UNCLEAR
    assert asked == ["POST /v1/messages"]
