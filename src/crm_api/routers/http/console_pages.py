"""Serve the web console: one HTML page for all screens, and its files under ``/assets/``.

``make console`` writes the files to ``src/crm_api/console``. The page has the same bytes at each
address. Its script reads the address and shows the screen.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import Scope

from crm_api.routers.http import problems
from crm_api.routers.http.csv_responses import JSON, preference

HTML = "text/html"
PAGES = (
    "/sign-in",
    "/welcome",
    "/accept-invitation",
    "/reset-password",
    "/today",
    "/inbox",
    "/inbox/{id}",
    "/contacts",
    "/contacts/{id}",
    "/segments",
    "/imports",
    "/imports/new",
    "/imports/{id}",
    "/campaigns",
    "/campaigns/new",
    "/campaigns/{id}",
    "/calendar",
    "/insight",
    "/templates",
    "/operations",
    "/settings",
)
"""The paths of the pages of the console. ``console/src/routes.tsx`` has the same list. A test
compares the two lists.
"""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content security policy: the page may load files only from this service and connect only to it.

The page has no inline scripts or styles, and its scripts cannot create HTML from text.
"""
ISOLATED = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
FOREVER = "public, max-age=31536000, immutable"
"""Value of the header ``Cache-Control`` for assets (scripts, styles and pictures). The name of an
asset contains a hash of its content, so browsers never need to load it again."""
_SMALLEST_PACKED = 1_400
_PACKED = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml"})
_SANDBOX = (b'data-sandbox="false"', b'data-sandbox="true"')


@dataclass(frozen=True)
class ConsoleFile:
    """A file of the console in memory.

    Attributes:
        plain: The content, not compressed.
        packed: The content, compressed with gzip; None for small files and for media types that
            are not compressed.
        media_type: The media type.
        etag: Weak ETag of the content, the same for ``plain`` and ``packed``.
    """

    plain: bytes = field(repr=False)
    packed: bytes | None = field(repr=False)
    media_type: str
    etag: str


def is_page_wanted(request: Request) -> bool:
    """Return True if the client prefers HTML to JSON, as a browser that opens a page does."""
    accept = request.headers.get("accept", JSON)
    return preference(accept, HTML) > preference(accept, JSON)


async def show_page(request: Request) -> Response:
    """Send the page of the console."""
    return page(request)


def page(request: Request, *, status: int = HTTPStatus.OK) -> Response:
    """Return the page of the console.

    The headers make a browser check its stored copy of the page before each use.
    """
    is_sandbox = request.app.state.crm.settings.uses_sandbox
    headers = {**ISOLATED, "Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding"}
    return _answer(request, _index(is_sandbox=is_sandbox), headers, status=status)


async def send_asset(request: Request) -> Response:
    """Send a file of the console that a page loads; 404 if there is no such file."""
    found = _asset(request.path_params["name"])
    if found is None:
        return await problems.on_http_error(request, HTTPException(HTTPStatus.NOT_FOUND))
    return _answer(request, found, {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"})


async def on_unknown_path(request: Request, error: Exception) -> Response:
    """Return the response to an ``HTTPException``: usually a problem document (RFC 9457).

    A browser that requests an unknown address gets the page of the console with status 404. An
    unknown address of the API or of a file always gets a problem document.
    """
    is_unknown = isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND
    if is_unknown and request.method == "GET" and is_page_wanted(request):
        area = request.url.path.split("/")[1]
        if area not in _AREAS_OF_THE_API:
            return page(request, status=HTTPStatus.NOT_FOUND)
    return await problems.on_http_error(request, error)


_AREAS_OF_THE_API = frozenset(
    {"v1", "webhooks", "docs", "assets", "calendar", "openapi.json", "healthz", "readyz", "metrics"}
)
"""First segments of the paths that belong to the API or to files, not to pages of the console.

If an unknown path begins with one of these segments, even a browser gets a problem document (an
error as JSON).
"""


class ConsoleRoute(Route):
    """A route of the console that adds itself to the ASGI scope.

    The access log reads the route of a request from the scope. FastAPI adds only its own routes.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the route matches a request, and the entries to add to the ASGI scope."""
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def console_routes() -> list[ConsoleRoute]:
    """Return the routes of the console.

    The routes of the console accept any query parameters, because the script of the console reads
    the parameters. The routes of the API refuse unknown query parameters.
    """
    return [
        *(
            ConsoleRoute(path, show_page, methods=["GET"], include_in_schema=False)
            for path in PAGES
        ),
        ConsoleRoute("/assets/{name}", send_asset, methods=["GET"], include_in_schema=False),
    ]


def _answer(
    request: Request, found: ConsoleFile, headers: dict[str, str], *, status: int = HTTPStatus.OK
) -> Response:
    headers |= {"ETag": found.etag}
    if status == HTTPStatus.OK and found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content = found.plain
    if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = found.packed
        headers["Content-Encoding"] = "gzip"
    return Response(content, status_code=status, headers=headers, media_type=found.media_type)


def _folder() -> Traversable:
    return resources.files("crm_api") / "console"


@lru_cache(maxsize=2)
def _index(*, is_sandbox: bool) -> ConsoleFile:
    content = (_folder() / "index.html").read_bytes()
    return _file("index.html", content.replace(*_SANDBOX) if is_sandbox else content)


@lru_cache(maxsize=512)
def _asset(name: str) -> ConsoleFile | None:
    found = _folder() / "assets" / name
    is_file = name not in {"", ".", ".."} and "/" not in name and "\\" not in name
    return _file(name, found.read_bytes()) if is_file and found.is_file() else None


def _file(name: str, content: bytes) -> ConsoleFile:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = None
    if media_type in _PACKED and len(content) >= _SMALLEST_PACKED:
        packed = gzip.compress(content, 9, mtime=0)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return ConsoleFile(content, packed, media_type, f'W/"{digest}"')
