"""Helpers that serve the application with a real server, and read its event streams."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from tests.conftest import ADMIN_KEY

from crm_api.cli.server import OneWriteProtocol

PATIENCE_SECONDS = 10.0
"""Longest time to wait for the next event; then the test fails."""


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application on loopback until the block ends; yield a client with the admin key."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", http=OneWriteProtocol)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    task = asyncio.create_task(server.serve(sockets=[listener]))
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            yield client
    finally:
        app.state.events.stop()
        server.should_exit = True
        await task


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame (event or comment) of an event stream."""

    event: str | None
    id: str | None
    data: dict[str, Any] | None
    comment: str | None

    @property
    def name(self) -> str | None:
        """Name that a test stored in the data of the event."""
        return None if self.data is None else self.data.get("data", {}).get("name")


def read_frame(text: str) -> Frame:
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        key, _, value = line.partition(": ")
        fields[key] = value
    return Frame(
        event=fields.get("event"),
        id=fields.get("id"),
        data=json.loads(fields["data"]) if "data" in fields else None,
        comment=fields.get(""),
    )


class Stream:
    """Reader of the frames of one response, in order."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._chunks = response.aiter_text()
        self._text = ""

    async def next(self) -> Frame | None:
        """Return the next frame; None at the end of the stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "\n\n" not in self._text:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    return None
                self._text += chunk
        text, self._text = self._text.split("\n\n", 1)
        return read_frame(text)

    async def take(self, count: int) -> list[Frame]:
        frames = []
        for _ in range(count):
            frame = await self.next()
            assert frame is not None
            frames.append(frame)
        return frames


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, path: str = "/v1/events", **request: Any
) -> AsyncIterator[Stream]:
    """Open an event stream, wait for the response headers, and yield its reader."""
    async with client.stream("GET", path, **request) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)
