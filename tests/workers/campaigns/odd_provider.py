"""A simulated provider: an HTTP server on loopback that responds to sends with given bytes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


def http(
    status: int, body: bytes | str | Any = b"", *, close: bool = True, **headers: str
) -> bytes:
    """Return a response with its content length. A body that is not text is written as JSON."""
    content = body.encode() if isinstance(body, str) else body
    if not isinstance(content, bytes):
        content = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Odd", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += ["connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


@dataclass
class OddProvider:
    """Simulated provider: the first sends get given responses, and later sends are accepted."""

    answers: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    """Phone numbers of the recipients, in the order of the sends."""
    sent_bytes: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
        request = json.loads(await reader.readexactly(length))
        self.recipients.append(request["to"][0])
        position = len(self.recipients)
        ordered = self.answers.pop(0) if self.answers else None
        answer = ordered or http(202, {"data": {"id": f"AC{position}"}}, close=False)
        for begin in range(0, len(answer), 65_536):
            writer.write(answer[begin : begin + 65_536])
            await writer.drain()
            self.sent_bytes += len(answer[begin : begin + 65_536])
        return ordered is None


@asynccontextmanager
async def odd_provider(*answers: bytes) -> AsyncIterator[OddProvider]:
    provider = OddProvider(answers=list(answers))
    async with await asyncio.start_server(provider.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        provider.url = f"http://{host}:{port}"
        yield provider
