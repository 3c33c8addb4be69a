"""The part of the S3 API that the store of files uses, served over HTTP on loopback."""

import asyncio
import re
import socket
from dataclasses import dataclass, field
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Bucket:
    """Bucket that records each request: its method, its path, and whether it was signed."""

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, bool]] = field(default_factory=list)
    parts: dict[int, bytes] = field(default_factory=dict)
    is_away: bool = False
    url: str = ""

    async def __aenter__(self) -> Self:
        app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "PUT", "POST"])])
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none")
        # Listen before the server runs. A client that connects earlier then waits, and is not
        # refused.
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._serving

    async def answer(self, request: Request) -> Response:
        path, body = request.path_params["path"], await request.body()
        is_signed = "AWS4-HMAC-SHA256" in request.headers.get("authorization", "")
        self.requests.append((request.method, path, is_signed))
        if self.is_away:
            return Response(status_code=403)
        if request.method in {"GET", "HEAD"}:
            return self._read(request, path)
        if "uploads" in request.query_params:
            return Response("<InitiateMultipartUploadResult><UploadId>1</UploadId>"
                            "</InitiateMultipartUploadResult>")  # fmt: skip
        if "partNumber" in request.query_params:
            self.parts[int(request.query_params["partNumber"])] = body
            return Response(headers={"etag": '"part"'})
        if "uploadId" in request.query_params:
            self.objects[path] = b"".join(self.parts[number] for number in sorted(self.parts))
            return Response("<CompleteMultipartUploadResult><ETag>e</ETag>"
                            "</CompleteMultipartUploadResult>")  # fmt: skip
        self.objects[path] = body
        return Response(headers={"etag": '"whole"'})

    def _read(self, request: Request, path: str) -> Response:
        if path not in self.objects:
            return Response(status_code=404)
        stored = self.objects[path]
        headers = {
            "etag": '"whole"',
            "last-modified": "Wed, 25 Nov 2026 15:00:00 GMT",
            "content-length": str(len(stored)),
        }
        if request.method == "HEAD":
            return Response(headers=headers)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if found is None:
            return Response(stored, headers=headers)
        start, end = int(found[1]), int(found[2]) + 1
        part = stored[start:end]
        headers["content-range"] = f"bytes {start}-{start + len(part) - 1}/{len(stored)}"
        headers["content-length"] = str(len(part))
        return Response(part, 206, headers)
