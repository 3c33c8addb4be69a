"""A webhook endpoint that responds to every POST with 204, and does nothing else.

It is the floor (least possible work) of an endpoint. Run it with ``python -m
benchmarks.web_receiver PORT``. Connections stay open, as with a real server.
"""

import asyncio
import sys
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"


class Receiver(asyncio.Protocol):
    """Responds to requests. The header ``content-length`` says where a request ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport of the new connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request."""
        self._waiting += data
        while (end := self._waiting.find(END_OF_HEAD)) >= 0:
            head = self._waiting[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            whole = end + len(END_OF_HEAD) + length
            if len(self._waiting) < whole:
                return
            self._waiting = self._waiting[whole:]
            self._transport.write(ANSWER)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
