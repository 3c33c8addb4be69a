"""Handle ``POST /v1/messages``, and check all requests to the simulated API of the provider.

A request is refused if its API key is wrong, if it exceeds the rate limit, or if a simulated fault
applies. Requests to ``POST /v1/messages`` do not go through the router, because benchmarks need a
fast sandbox.
"""

import asyncio
import contextlib
import re
import socket
import struct
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from crm_api.dev.sandbox.config import OwnLine
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.dev.sandbox.wire_format import (
    dated_problem,
    json_answer,
    message_form,
    nested_problem,
    problem,
    raw_json_answer,
    read_recipients,
)
from crm_api.dev.sandbox.workspace import Workspace
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind

TRANSPORT = "sandbox.transport"
"""Key in the ASGI scope under which the connection of a request is stored, so that a simulated
fault can reset the connection."""
API_VERSION = "2026-03-30"
MAX_TEXT = 1600
MAX_RECIPIENTS = 10
MAX_FILES = 10
MAX_IDENTIFIER = 15
_E164 = re.compile(r"\+[1-9]\d{1,14}")

_REFUSALS: dict[FaultKind, tuple[bytes, int]] = {
    kind: (problem(status, code, title, message), status)
    for kind, status, code, title, message in (
        (FaultKind.THROTTLED, 429, "0200429", "Too Many Requests", "Rate limit exceeded"),
        (FaultKind.ERROR_BEFORE, 500, "0201500", "Unknown", "Unknown error"),
        (FaultKind.ERROR_AFTER, 500, "0201500", "Unknown", "Unknown error"),
        (FaultKind.NO_CREDITS, 402, "0200402", "Not Enough Credits", "Not enough credits"),
        (FaultKind.EXPIRED, 402, "0201402", "Subscription Expired", "Subscription expired"),
        (FaultKind.UNAUTHORIZED, 401, "0200401", "Unauthorized", "Invalid API key"),
        (
            FaultKind.DAILY_CAP,
            403,
            "0204403",
            "A2P 10DLC Daily Message Cap Reached",
            "Daily message cap reached",
        ),
        (
            FaultKind.NOT_NUMBER_USER,
            403,
            "0202403",
            "Not Phone Number User",
            "The user is not a member of this number",
        ),
        (
            FaultKind.INTERNATIONAL,
            403,
            "0203403",
            "International Messaging Disabled",
            "International messaging is off",
        ),
        (FaultKind.NOT_FOUND, 404, "0200404", "Not Found", "Phone number not found"),
        (FaultKind.INVALID, 400, "0201400", "Bad Request", "Invalid recipient"),
        (
            FaultKind.NOT_APPROVED,
            400,
            "0206400",
            "A2P Registration Not Approved",
            "Registration is not approved",
        ),
    )
}


@dataclass(frozen=True)
class _Draft:
    """A valid request to send a message."""

    line: OwnLine
    to: tuple[str, ...]
    text: str
    media: tuple[dict[str, str], ...]


class _RefusedError(Exception):
    """The request to send is invalid; the attribute ``answer`` is the error response."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


async def post_message(workspace: Workspace, scope: Scope, receive: Receive, send: Send) -> None:
    """Handle ``POST /v1/messages``. If a fault applies to the request, simulate the fault."""
    request = Request(scope, receive)
    answer = check_key(workspace, request)
    try:
        body = await request.body()
    except ClientDisconnect:
        # The request is incomplete, so its message is not accepted.
        return
    if answer is None:
        answer = await _accept(workspace, body)
    await answer(scope, receive, send)


async def _accept(workspace: Workspace, body: bytes) -> ASGIApp:
    try:
        request: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        request = None
    to = request.get("to") if isinstance(request, dict) else None
    numbers = tuple(str(item) for item in to) if isinstance(to, list) else ()
    fault = workspace.faults.take(FaultScope.SEND, numbers)
    if fault is not None and not fault.is_after:
        return _fail(workspace, fault)
    try:
        draft = _validate(workspace, request)
    except _RefusedError as error:
        return error.answer
    stored = workspace.accept(draft.line, draft.to, draft.text, media=draft.media)
    shown = {**message_form(stored), "status": "queued"}
    match None if fault is None else fault.kind:
        case FaultKind.RESET_AFTER:
            return _reset
        case FaultKind.HANG_AFTER:
            return _hang(workspace)
        case FaultKind.ERROR_AFTER:
            return _refusal(FaultKind.ERROR_AFTER)
        case FaultKind.SLOW:
            await asyncio.sleep(workspace.config.slow_seconds)
        case FaultKind.NO_ID:
            del shown["id"]
    return json_answer({"data": shown}, 202)


def refusal_of_read(workspace: Workspace, request: Request) -> ASGIApp | None:
    """Check a request that sends no message; return the error response to a refused request.

    Return None if the request is accepted. A request is refused in these cases:

    - Its API version is wrong.
    - Its key is wrong.
    - The rate limit is exceeded.
    - A simulated fault applies.
    """
    is_dated = not request.url.path.startswith("/v1/")
    if is_dated and request.headers.get("quo-api-version") != API_VERSION:
        needed = f"Quo-Api-Version: {API_VERSION} needed"
        return raw_json_answer(dated_problem("Invalid Version", needed), 400)
    answer = check_key(workspace, request)
    if answer is not None:
        return answer
    numbers = (*request.query_params.getlist("participants"), *read_recipients(request))
    fault = workspace.faults.take(FaultScope.READ, numbers)
    return None if fault is None or fault.is_after else _fail(workspace, fault)


def check_key(workspace: Workspace, request: Request) -> ASGIApp | None:
    """Return an error response if the API key is unusable or the rate limit is exceeded; else None.

    A key is unusable if it is empty or begins with ``Bearer``. The provider refuses such keys too.
    """
    key = request.headers.get("authorization", "")
    if not key or key.startswith("Bearer "):
        body = nested_problem("Unauthorized: send the bare API key", "unauthorized")
        return raw_json_answer(body, 401)
    return _refusal(FaultKind.THROTTLED) if workspace.exceeds_rate(key) else None


def _fail(workspace: Workspace, fault: Fault) -> ASGIApp:
    match fault.kind:
        case FaultKind.RESET_BEFORE:
            return _reset
        case FaultKind.HANG:
            return _hang(workspace)
        case _:
            return _refusal(fault.kind, retry_after=fault.retry_after)


def _refusal(kind: FaultKind, *, retry_after: float | None = None) -> Response:
    answer = raw_json_answer(*_REFUSALS[kind])
    if retry_after is not None:
        answer.headers["retry-after"] = f"{retry_after:g}"
    return answer


def _validate(workspace: Workspace, request: object) -> _Draft:
    if not isinstance(request, dict):
        raise _invalid("/", "Expected a JSON object", None, "object")
    text, sender, to = request.get("content"), request.get("from"), request.get("to")
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT or not text.strip():
        raise _invalid("/content", "Expected 1 to 1600 characters, not all blank", text, "string")
    if not isinstance(sender, str):
        raise _invalid("/from", "Expected a phone number or its id", sender, "string")
    if not isinstance(to, list) or not 1 <= len(to) <= MAX_RECIPIENTS:
        raise _invalid("/to", "Expected 1 to 10 recipients", to, "array")
    for number in to:
        # The provider accepts any text of up to 15 characters as a recipient, even a number without
        # +1. The sandbox does the same.
        if not isinstance(number, str) or not (
            _E164.fullmatch(number) or 0 < len(number) <= MAX_IDENTIFIER
        ):
            raise _invalid("/to", "Expected E.164", number, "string")
    line = workspace.line(sender)
    if line is None:
        raise _RefusedError(_refusal(FaultKind.NOT_FOUND))
    return _Draft(line, tuple(to), text, _read_media(request.get("media", [])))


def _read_media(items: object) -> tuple[dict[str, str], ...]:
    """Return the files of a message. The provider's API has no such field; this is an extension."""
    if not isinstance(items, list) or len(items) > MAX_FILES:
        raise _invalid("/media", "Expected at most 10 files", items, "array")
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("url"), str):
            raise _invalid("/media", "Expected objects with a url", item, "object")
    return tuple({"url": item["url"], "type": "image/png"} for item in items)


def _invalid(path: str, message: str, value: object, kind: str) -> _RefusedError:
    errors = [{"path": path, "message": message, "value": value, "schema": {"type": kind}}]
    body = problem(400, "0201400", "Bad Request", f"{path}: {message}", errors=errors)
    return _RefusedError(raw_json_answer(body, 400))


async def _reset(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI app
    """Reset the connection instead of sending a response.

    Under uvicorn, SO_LINGER is set to zero, so that the client sees a reset. In tests without a
    connection, this function raises the error that a client would get.

    Raises:
        ConnectionResetError: There is no connection to reset.
    """
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("the sandbox reset the connection")
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    # Wait until uvicorn has noticed that the connection was reset. If this function ended earlier,
    # uvicorn would try to respond with status 500.
    await _wait_until_gone(receive, 5.0)


def _hang(workspace: Workspace) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI app
        await _wait_until_gone(receive, workspace.config.hang_seconds)

    return app


async def _wait_until_gone(receive: Receive, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
