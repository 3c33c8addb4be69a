"""``GET /openapi.json``: made once, kept as bytes, told by its ETag."""

import asyncio
import gzip
import threading
from dataclasses import dataclass, field
from hashlib import blake2b
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from starlette.routing import Route

PATH = "/openapi.json"
SMALLEST = 9
"""The level of compression: it is done once."""


@dataclass(frozen=True)
class Document:
    """The document as it is sent."""

    plain: bytes = field(repr=False)
    packed: bytes = field(repr=False)
    etag: str


class DocumentRoute:
    """Serves the document of an application.

    It is made in a thread when it is first asked for: that takes a second, in which others are
    answered.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: Document | None = None
        self._lock = threading.Lock()

    @property
    def route(self) -> Route:
        """The route; it stands before FastAPI's own, which writes the document each time."""
        return Route(PATH, self.answer, methods=["GET"], include_in_schema=False)

    async def answer(self, request: Request) -> Response:
        """Answer with the document, packed for who takes that, or with 304 for who has it."""
        request.scope["route"] = self.route  # as FastAPI tells of its own routes only
        known = self._made
        if known is None:
            known = await asyncio.to_thread(self._make)
        headers = {"ETag": known.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if known.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(known.plain, headers=headers, media_type="application/json")
        headers["Content-Encoding"] = "gzip"
        return Response(known.packed, headers=headers, media_type="application/json")

    def _make(self) -> Document:
        with self._lock:
            if self._made is not None:  # made by another thread meanwhile
                return self._made
            plain = orjson.dumps(self._app.openapi())
            # A weak one: it names the document, packed or not.
            etag = f'W/"{blake2b(plain, digest_size=16).hexdigest()}"'
            self._made = made = Document(plain, gzip.compress(plain, SMALLEST, mtime=0), etag)
        return made
