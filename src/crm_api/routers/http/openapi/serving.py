"""Serve ``GET /openapi.json``. The document is built once and then sent from memory."""

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
"""Gzip level with the smallest result. It is slow, but the OpenAPI document is compressed only
once."""


@dataclass(frozen=True)
class Document:
    """The OpenAPI document in memory.

    Attributes:
        plain: The JSON.
        packed: The JSON, compressed with gzip.
        etag: The ETag, which is the same for ``plain`` and ``packed``.
    """

    plain: bytes = field(repr=False)
    packed: bytes = field(repr=False)
    etag: str


class DocumentRoute:
    """Serves the OpenAPI document of an application.

    The first request builds the document. This takes about a second, so it runs in a thread and
    does not block other requests.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: Document | None = None
        self._lock = threading.Lock()

    @property
    def route(self) -> Route:
        """The route of the OpenAPI document; register it before FastAPI's own, slower route."""
        return Route(PATH, self.answer, methods=["GET"], include_in_schema=False)

    async def answer(self, request: Request) -> Response:
        """Send the document, with gzip if the client accepts it; send 304 if the ETag matches."""
        # The log line of the request needs the route. FastAPI sets it only for its own routes.
        request.scope["route"] = self.route
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
            # Another thread may have built the document while this thread waited for the lock.
            if self._made is not None:
                return self._made
            plain = orjson.dumps(self._app.openapi())
            # From now on, only the JSON is needed. The Python objects of the document are deleted,
            # because they take 6 MB (measured).
            self._app.openapi_schema = None
            # The ETag is weak (`W/`), because the plain and the compressed document have the same
            # ETag.
            etag = f'W/"{blake2b(plain, digest_size=16).hexdigest()}"'
            self._made = made = Document(plain, gzip.compress(plain, SMALLEST, mtime=0), etag)
        return made
