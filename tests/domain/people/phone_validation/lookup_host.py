"""A look-up service for line types on the loopback interface; a test sets its responses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

KEY = "a key of the look-up service"


def make_response(
    body: str, *, status: int = 200, kind: str = "application/json", **headers: str
) -> bytes:
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status} Any",
        "Connection: close",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def make_answer(line_type: str, **more: str | None) -> bytes:
    return make_response(json.dumps({"line_type": line_type, **more}))


HTML = make_response("<html>Please log in</html>", kind="text/html")
REFUSED = make_response('{"error": "unauthorized"}', status=401)
UNAVAILABLE = make_response("Bad gateway", status=502, kind="text/plain")
THROTTLED = make_response("{}", status=429, retry_after="0")


@dataclass
class LookupHost:
    """A host that sends its ``responses`` in order and repeats the last one.

    A response in ``by_phone`` has priority.
    """

    port: int = 0
    responses: list[bytes] = field(
        default_factory=lambda: [make_answer("mobile", carrier="Example")]
    )
    by_phone: dict[str, bytes] = field(default_factory=dict)
    is_silent: bool = False
    before_response: Callable[[], Awaitable[None]] | None = None
    requested: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/lookup?fields=line_type"

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            query = parse_qs(urlsplit(first.split(" ")[1]).query)
            assert query["fields"] == ["line_type"]
            [phone] = query["phone"]
            self.requested.append(phone)
            self.headers.append(dict(line.lower().split(": ", 1) for line in lines if line))
            if self.is_silent:
                await reader.read()
            if self.before_response is not None:
                await self.before_response()
            response = self.by_phone.get(phone)
            if response is None:
                response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
            writer.write(response)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def lookup_host() -> AsyncIterator[LookupHost]:
    host = LookupHost()
    server = await asyncio.start_server(host.respond, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
