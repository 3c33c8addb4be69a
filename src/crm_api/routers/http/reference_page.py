"""Serve ``/docs``, where Swagger UI shows the OpenAPI document, and the index page ``/``.

This process serves the scripts of Swagger UI from an installed Python package. Users type API keys
into the page, so it must not load code from another host. The page also works without the internet.
"""

import hashlib
from functools import lru_cache
from http import HTTPStatus
from importlib import resources

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from crm_api.routers.http import console_pages
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: the page may load files only from this service and connect only to it.
Inline styles are allowed, because Swagger UI needs them."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>crm-api</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="page"></div>
<noscript>This page is made by a script from <a href="/openapi.json">openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
INDEX = {
    "name": "crm-api",
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "api": "/v1",
    "health": "/readyz",
}
_MEDIA_TYPES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@router.get("/")
async def show_index(request: Request) -> Response:
    """Send the console to browsers, and the most important paths as JSON to other clients."""
    if console_pages.is_page_wanted(request):
        return console_pages.page(request)
    return JSONResponse(INDEX, headers={"Cache-Control": "no-store", "Vary": "Accept"})


@router.get("/docs")
async def show_reference() -> Response:
    """Send the HTML page of Swagger UI."""
    return _answer(PAGE, "text/html")


@router.get("/docs/start.js")
async def start_reference() -> Response:
    """Send the script that starts Swagger UI."""
    return _answer(START, "text/javascript")


@router.get("/docs/{name}")
async def load_reference(name: str, request: Request) -> Response:
    """Send a file of Swagger UI; send 304 if the browser has the current version."""
    if name not in _MEDIA_TYPES:
        return Response(status_code=HTTPStatus.NOT_FOUND)
    content, etag = _file(name)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type=_MEDIA_TYPES[name], headers=headers)


def _answer(content: str, media_type: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(content, media_type=media_type, headers=headers)


@lru_cache
def _file(name: str) -> tuple[bytes, str]:
    content = (resources.files("fastapi_offline") / "static" / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
