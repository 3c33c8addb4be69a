"""`/docs`: every operation with a form to try it, made in the browser from the OpenAPI document.

The page and its script come from here alone and are let to load nothing else: whoever types a key
into a page must not depend on another host's script.
"""

from http import HTTPStatus
from importlib import resources

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = resources.files(__package__)
_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


def _file(name: str, media_type: str) -> Response:
    return Response((_FILES / name).read_bytes(), headers=_HEADERS, media_type=media_type)


@router.get("/docs")
async def show_reference() -> Response:
    """Show the page."""
    return _file("page.html", "text/html")


@router.get("/docs/page.css")
async def style_reference() -> Response:
    """Show how it looks."""
    return _file("page.css", "text/css")


@router.get("/docs/{script}.js")
async def script_reference(script: str) -> Response:
    """Show how it works."""
    if script not in {"page", "request"}:
        return Response(status_code=HTTPStatus.NOT_FOUND)
    return _file(f"{script}.js", "text/javascript")
