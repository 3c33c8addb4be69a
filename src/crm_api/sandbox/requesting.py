"""What the sandbox's handlers read from requests, and how they answer."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from datetime import datetime
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from crm_api.sandbox import shapes

DATED_PAGE = 50


class BadRequestError(Exception):
    """A parameter is missing or wrong; becomes a 400 in the interface's own shape."""


async def read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BadRequestError: It is none.
    """
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(body, dict):
        raise BadRequestError("the body is no JSON object")
    return body


def read_limit(text: str | None, most: int) -> int:
    """Read the size of a page.

    Raises:
        BadRequestError: It is no number from 1 to ``most``.
    """
    if text is None or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadRequestError(f"the page size must be 1 to {most}")
    return int(text)


def read_instant(query: QueryParams, name: str) -> datetime | None:
    """Read a time with its zone.

    Raises:
        BadRequestError: It is none.
    """
    text = query.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(f"{name} is no ISO 8601 time") from error
    if instant.tzinfo is None:
        raise BadRequestError(f"{name} has no zone")
    return instant


def write_token(seq: int) -> str:
    """Make the token of the page that begins behind this place."""
    return urlsafe_b64encode(b"seq:%d" % seq).decode()


def read_token(token: str | None) -> int | None:
    """Read the token of a page.

    Raises:
        BadRequestError: It is none of ours.
    """
    if token is None:
        return None
    try:
        return int(urlsafe_b64decode(token).removeprefix(b"seq:"))
    except (Base64Error, ValueError) as error:
        raise BadRequestError("the page token is none of this list's") from error


def json_answer(body: dict[str, Any], status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(body), status, media_type="application/json")


def not_found(code: str) -> Response:
    """Answer that there is nothing by this name."""
    body = shapes.problem(404, code, "Not Found", "Not found")
    return Response(body, 404, media_type="application/json")
