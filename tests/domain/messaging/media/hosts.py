"""A media host on loopback that returns exactly the bytes that a test defines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult

from crm_api.dev.sandbox.media import draw_crack, sound_tone

PICTURE = draw_crack("a wall")
OTHER_PICTURE = draw_crack("another wall")
SOUND = sound_tone("a call")


@dataclass(frozen=True)
class Request:
    """A request that the host received."""

    path: str
    headers: dict[str, str]


@dataclass
class MediaHost:
    """Host that sends the responses of each path in order and repeats the last; otherwise 404."""

    port: int = 0
    replies: dict[str, list[bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    """Paths that never get a response."""
    name: str = "127.0.0.1"

    def url(self, path: str) -> str:
        return f"http://{self.name}:{self.port}{path}"

    def serve(self, path: str, *replies: bytes) -> str:
        self.replies[path] = list(replies)
        return self.url(path)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = first.split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            self.requests.append(Request(path, headers))
            if path in self.silent:
                await reader.read()
            waiting = self.replies.get(path) or [reply(b"nothing here", status=404)]
            writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def media_host(name: str = "127.0.0.1", *, port: int = 0) -> AsyncIterator[MediaHost]:
    host = MediaHost(name=name)
    server = await asyncio.start_server(host.answer, name, port)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()


def reply(
    body: bytes = b"", *, status: int = 200, length: int | None = None, **headers: str
) -> bytes:
    """Return the bytes of an HTTP response.

    ``length`` replaces the true Content-Length; -1 omits the header.
    """
    lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
    size = len(body) if length is None else length
    if size >= 0:
        lines.append(f"Content-Length: {size}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def in_chunks(*chunks: bytes, ends: bool = True) -> bytes:
    """Return the bytes of an HTTP response in chunks, without a Content-Length.

    If ``ends`` is false, the last chunk is missing.
    """
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + (b"0\r\n\r\n" if ends else b"")


class FakeResolver(AbstractResolver):
    """Resolver with a list of addresses for each look-up of a name; it repeats the last list."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): looks for name, looks in names.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.append(host)
        looks = self.answers.get(host)
        if looks is None:
            raise OSError(-2, "Name or service not known")
        found = looks.pop(0) if len(looks) > 1 else looks[0]
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in found
        ]

    async def close(self) -> None:
        """Do nothing: the resolver has no resources."""
