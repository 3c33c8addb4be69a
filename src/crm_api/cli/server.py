"""Define the uvicorn server of the API and the sandbox, and the HTTP protocol of the API."""

import asyncio
import signal
import socket
from types import FrameType
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from crm_api.platform import tracing


class Server(uvicorn.Server):
    """uvicorn server that sends its last OpenTelemetry traces before it ends.

    After SIGTERM, the exit status is 0.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down after the running requests have ended.

        SIGTERM is handled here and not by uvicorn. With uvicorn, the process would exit with status
        143. Process managers count this status as a failure.
        """
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait until the running requests have ended, then send the last OpenTelemetry traces."""
        await super().shutdown(sockets)
        # The traces must be sent here. After a signal other than SIGTERM, uvicorn ends the process
        # directly after this method.
        tracing.stop()


class OneWriteProtocol(HttpToolsProtocol):
    """HTTP protocol that sends the head of a response together with the first part of its body.

    Without this class, uvicorn makes one system call to send the head and another to send the body.
    The second system call takes a tenth of the CPU time of a webhook.

    Source: ASGI, "Response Start", as explained in issue 138 of django/asgiref, read 2026-11-29;
    uvicorn 0.54.0, ``RequestResponseCycle.send`` in ``uvicorn/protocols/http/httptools_impl.py``.
    """

    def on_headers_complete(self) -> None:
        """Begin to handle a request after its headers were read.

        uvicorn calls this method. The method wraps the connection, so that the head of the response
        is sent together with the first part of the body.
        """
        super().on_headers_complete()
        cycle = self.cycle
        # The transport of the response can be replaced now: the task that handles the request has
        # not run yet, so it has written nothing.
        cycle.transport = cast("asyncio.Transport", _JoinedHead(cycle, self.transport))


class _JoinedHead:
    """A transport that sends the head of a response together with the first part of the body.

    It has only the methods that uvicorn's ``RequestResponseCycle`` uses. The head is sent
    immediately if the response has no ``Content-Length``, because the body may begin much later.
    The head is also sent immediately if the request is a HEAD request.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        # The reference to `cycle` (uvicorn's object for one request) is deleted when the head of
        # the response is sent. Otherwise, the two objects would refer to each other, and only the
        # garbage collector could free them.
        self._cycle: RequestResponseCycle | None = cycle
        self._transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send a part of a response.

        The head (status and headers) is sent together with the first part of the body. But if the
        response has no ``Content-Length`` or no body, the head is sent immediately.
        """
        cycle = self._cycle
        if cycle is not None:
            if self._head is not None:
                data = self._head + data
                self._head = self._cycle = None
            elif cycle.response_started:
                if cycle.chunked_encoding is False and cycle.scope["method"] != "HEAD":
                    self._head = data
                    return
                self._cycle = None
        self._transport.write(data)

    def close(self) -> None:
        """Send the head (status and headers) if it was not sent yet, and close the connection."""
        if self._head is not None:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closing."""
        return self._transport.is_closing()
