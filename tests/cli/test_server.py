"""Prove that the head and the body of a response are sent in one write."""

import asyncio
import gc
import weakref

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from crm_api.cli.server import OneWriteProtocol

REQUEST = b"%s / HTTP/1.1\r\nhost: crm.test\r\n%s\r\n"
LENGTH = (b"content-length", b"4")


class RecordingTransport(asyncio.Transport):
    """A transport that records the data of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def resume_reading(self) -> None:
        pass


def app_that_sends(*bodies: bytes, length: bool = True, reads_body: bool = False) -> ASGIApp:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        if reads_body:
            await receive()
        headers = [LENGTH] if length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for position, body in enumerate(bodies, start=1):
            more = position < len(bodies)
            await send({"type": "http.response.body", "body": body, "more_body": more})

    return app


class Connection:
    """One connection of a client to an application."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", access_log=False)
        config.load()
        self.state = ServerState()
        self.protocol = OneWriteProtocol(config, self.state, {})
        self.transport = RecordingTransport()
        self.protocol.connection_made(self.transport)

    async def handle(self, method: bytes, headers: bytes) -> None:
        self.protocol.data_received(REQUEST % (method, headers))
        await asyncio.gather(*self.state.tasks)


async def handle(
    app: ASGIApp, *, method: bytes = b"GET", headers: bytes = b""
) -> RecordingTransport:
    """Send one request to the application; return the transport with the recorded writes."""
    connection = Connection(app)
    await connection.handle(method, headers)
    connection.protocol.connection_lost(None)
    return connection.transport


async def test_a_response_is_one_write() -> None:
    transport = await handle(app_that_sends(b"body"))

    assert len(transport.writes) == 1
    assert transport.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.writes[0].endswith(b"\r\n\r\nbody")


async def test_parts_of_a_body_follow_the_head_in_order() -> None:
    transport = await handle(app_that_sends(b"bo", b"d", b"y"))

    assert [one[-2:] for one in transport.writes] == [b"bo", b"d", b"y"]


async def test_head_of_a_stream_does_not_wait_for_its_body() -> None:
    transport = await handle(app_that_sends(b"a", b"", length=False))

    assert transport.writes[0].endswith(b"\r\n\r\n")
    assert transport.writes[1:] == [b"1\r\na\r\n", b"0\r\n\r\n"]


async def test_a_response_without_body_is_sent() -> None:
    head = await handle(app_that_sends(b"body"), method=b"HEAD")
    empty = await handle(app_that_sends(b"", length=False))

    assert b"".join(head.writes).endswith(b"content-length: 4\r\n\r\n")
    assert b"".join(empty.writes).endswith(b"0\r\n\r\n")


async def test_head_without_its_declared_body_is_sent_before_the_connection_closes() -> None:
    transport = await handle(app_that_sends())

    assert b"".join(transport.writes).endswith(b"\r\n\r\n")
    assert transport.is_closed


async def test_response_100_continue_is_written_at_once() -> None:
    transport = await handle(
        app_that_sends(b"body", reads_body=True),
        method=b"POST",
        headers=b"expect: 100-continue\r\ncontent-length: 0\r\n",
    )

    assert transport.writes[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert transport.writes[1].endswith(b"\r\n\r\nbody")
    assert len(transport.writes) == 2


async def test_a_request_is_freed_without_the_garbage_collector() -> None:
    connection = Connection(app_that_sends(b"body"))
    gc.disable()
    try:
        await connection.handle(b"GET", b"")
        first = weakref.ref(connection.protocol.cycle)
        await connection.handle(b"GET", b"")

        assert first() is None
    finally:
        gc.enable()
        connection.protocol.connection_lost(None)
