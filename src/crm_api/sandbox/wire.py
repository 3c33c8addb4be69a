"""Raw ASGI for the hot path and for faults that no framework offers."""

import asyncio
import contextlib
import socket
import struct
from typing import Any

from starlette.types import Receive, Scope, Send

JSON = (b"content-type", b"application/json")


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole."""


async def read_body(receive: Receive) -> bytes:
    """Read a request's body.

    Raises:
        ClientGoneError: It never came to its end; nothing may be accepted.
    """
    chunks: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGoneError
        chunks.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(chunks)


async def answer(
    send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Send a whole JSON answer."""
    length = (b"content-length", str(len(body)).encode())
    await send(
        {"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


async def reset(receive: Receive, send: Send) -> None:
    """Close the connection without an answer.

    Under uvicorn the socket is told not to linger, so that the peer sees a reset. Without a
    transport, as in tests in one process, the caller gets the error itself.

    Raises:
        ConnectionResetError: There is no transport to close.
    """
    transport = _transport(send)
    if transport is None:
        raise ConnectionResetError("the sandbox reset the connection")
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    # Until uvicorn knows that the client is gone it would answer 500 on return.
    await wait_gone(receive, 5.0)


async def wait_gone(receive: Receive, seconds: float) -> None:
    """Wait until the client is gone, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass


def header(scope: Scope, name: bytes) -> str:
    """Return a header, or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def _transport(send: Send) -> Any:  # noqa: ANN401 - uvicorn's own class
    """Reach for the connection under a request: uvicorn's ``send`` is a method of its cycle."""
    return getattr(getattr(send, "__self__", None), "transport", None)
