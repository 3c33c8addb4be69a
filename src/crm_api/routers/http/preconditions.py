"""Handle the headers ``Idempotency-Key``, ``ETag``, ``If-Match`` and ``If-None-Match``.

- The transaction of a POST with an ``Idempotency-Key`` also stores its response. A repetition
  within a day gets this response.
- A GET with a current ``If-None-Match`` gets 304. A PUT, PATCH or DELETE with an ``If-Match`` that
  is not current gets 412. So does the start of a campaign, with the ETag of the campaign.
- Every change also writes an entry to the audit log in the same transaction.
"""

import re
from hashlib import blake2b
from http import HTTPStatus
from urllib.parse import quote

from python_multipart.multipart import parse_options_header
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.kit import idempotency
from crm_api.domain.kit.errors import CrmError, PreconditionFailedError
from crm_api.domain.kit.idempotency import StoredResponse
from crm_api.routers.http import problems
from crm_api.routers.http.bodies import header
from crm_api.routers.http.deps import AppState
from crm_api.routers.http.exchange import CHANGING, EXCHANGE, AnsweredBeforeError, Exchange
from crm_api.routers.http.paths import paths_of
from crm_api.routers.http.request_outcome import route_of

KEY = b"idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")
RESOURCES = "/v1/"
SIGN_IN = "/v1/auth/"
"""Prefix of the paths that use neither idempotency keys nor ETags. Their responses contain tokens,
so the responses must not be stored."""
CHANGES = frozenset({"PUT", "PATCH", "DELETE"})
_START = re.compile(r"(/v1/campaigns/[^/]+)/start")
TAG_BYTES = 16
_NOT_FOR_A_READ = frozenset(
    {b"if-match", b"if-none-match", b"content-type", b"content-length", b"transfer-encoding", KEY}
)


class ChangedSinceError(PreconditionFailedError):
    """The resource has changed since the caller read the ETag in ``If-Match``."""

    code = "changed_since"
    title = "Changed since it was read"
    detail = (
        "The resource has changed since you read the ETag in If-Match, so your change was not "
        "made. Read the resource again, check what has changed, and repeat your change with "
        "the new ETag."
    )


class PreconditionMiddleware:
    """ASGI middleware that handles ETags and idempotency keys of requests to ``/v1/``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle requests to ``/v1/``.

        Requests to sign in, and requests to other paths, are passed on unchanged.
        """
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(RESOURCES) or path.startswith(SIGN_IN):
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "GET":
            await self._read(scope, receive, send)
        elif method in CHANGING:
            await self._change(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add an ETag to a JSON response; send 304 if ``If-None-Match`` contains this ETag."""
        known = header(scope, b"if-none-match")
        waiting: Message | None = None

        async def send_tagged(message: Message) -> None:
            nonlocal waiting
            if message["type"] == "http.response.start" and _is_plain_json(message):
                waiting = message
                return
            if waiting is not None:
                begun, waiting = waiting, None
                if not message.get("more_body", False):
                    begun, message = _tagged(begun, message, known)
                await send(begun)
            await send(message)

        await self.app(scope, receive, send_tagged)

    async def _change(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the route and store its response in one transaction, then send the response."""
        request = Request(scope)
        exchange: Exchange | None = None
        is_replayed = False
        try:
            exchange = _exchange(scope)
            answer = await self._stale(scope, exchange)
            if answer is None:
                reading = (
                    receive
                    if exchange.key is None
                    else exchange.hashed(receive, boundary=_boundary(scope))
                )
                answer = await self._call(scope, reading, exchange)
            await exchange.settle(answer)
        except CrmError as error:
            answer = _answer(await problems.on_crm_error(request, error))
        except AnsweredBeforeError as before:
            answer, is_replayed = before.answer, True
        except (DBAPIError, *problems.UNREACHABLE) as error:
            answer = _answer(await problems.on_database_error(request, error))
        finally:
            if exchange is not None:
                await exchange.abandon()
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        headers += [REPLAYED] if is_replayed else []
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _stale(self, scope: Scope, exchange: Exchange) -> StoredResponse | None:
        """Return an error response if the resource does not match ``If-Match``, else None.

        The current version is read with the GET route of the resource, in the transaction of the
        change.
        """
        seen = header(scope, b"if-match")
        path = conditional_resource(scope["method"], scope["path"])
        if seen is None or path is None:
            return None
        if scope["method"] not in paths_of(scope["app"].state).at(scope["path"]):
            # The router will refuse the request, because the path does not support the method.
            return None
        headers = [pair for pair in scope["headers"] if pair[0] not in _NOT_FOR_A_READ]
        reading = {
            **scope,
            "method": "GET",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": b"",
            "headers": headers,
        }
        now = await self._call(reading, _nothing, exchange)
        if now.status == HTTPStatus.METHOD_NOT_ALLOWED:
            # The path does not support GET, so the caller cannot have an ETag of it.
            return None
        if now.status != HTTPStatus.OK:
            return now
        return None if matches_etag(seen, etag(now.body)) else await _precondition_failed(scope)

    async def _call(self, scope: Scope, receive: Receive, exchange: Exchange) -> StoredResponse:
        """Run the route and return its complete response instead of sending it."""
        start: Message = {}
        body = bytearray()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        inner = {**scope, EXCHANGE: exchange}
        try:
            await self.app(inner, receive, take)
        finally:
            route_of(inner)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]
        }
        if start["status"] == HTTPStatus.OK and scope["method"] == "PATCH":
            headers["etag"] = etag(bytes(body))
        return StoredResponse(status=start["status"], headers=headers, body=bytes(body))


def conditional_resource(method: str, path: str) -> str | None:
    """Return the path of the resource whose ETag a change may send in ``If-Match``.

    This is the path of a PUT, PATCH or DELETE itself. For the start of a campaign, it is the path
    of the campaign. Other requests ignore ``If-Match``; for them, the result is None.

    Args:
        method: The HTTP method in upper case.
        path: A path, or the path template of a route.
    """
    if method in CHANGES:
        return path
    started = _START.fullmatch(path) if method == "POST" else None
    return None if started is None else started[1]


def etag(body: bytes) -> str:
    """Return the strong ETag of a response body: a hash of its bytes, in quotes."""
    return f'"{blake2b(body, digest_size=TAG_BYTES).hexdigest()}"'


def _exchange(scope: Scope) -> Exchange:
    """Return a new ``Exchange``: the state of a request that changes data.

    Raises:
        InvalidKeyError: The value of the header Idempotency-Key is invalid.
    """
    key = header(scope, KEY) if scope["method"] == "POST" else None
    state: AppState = scope["app"].state.crm
    target = b" ".join((scope["method"].encode(), scope["raw_path"], scope["query_string"]))
    return Exchange(
        new_uow=state.new_uow,
        secret=state.secret,
        path=conditional_resource(scope["method"], scope["path"]),
        target=target,
        key=None if key is None else idempotency.read_key(key),
    )


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _precondition_failed(scope: Scope) -> StoredResponse:
    error = ChangedSinceError()
    return _answer(await problems.on_crm_error(Request(scope), error))


def _answer(response: Response) -> StoredResponse:
    return StoredResponse(
        status=response.status_code, headers=dict(response.headers), body=bytes(response.body)
    )


def _boundary(scope: Scope) -> bytes:
    """Return the boundary of a multipart form from its ``Content-Type``; empty for other bodies."""
    kind, options = parse_options_header(header(scope, b"content-type"))
    return options.get(b"boundary", b"") if kind == b"multipart/form-data" else b""


def _is_plain_json(start: Message) -> bool:
    if start["status"] != HTTPStatus.OK:
        return False
    return any(
        name == b"content-type" and value.startswith(b"application/json")
        for name, value in start["headers"]
    )


def _tagged(start: Message, body: Message, known: str | None) -> tuple[Message, Message]:
    """Return the start and the body of a response, with an ETag added to the start.

    If ``known`` (the header ``If-None-Match``) contains this ETag, return a 304 without a body.
    """
    tag = etag(body.get("body", b""))
    headers = [*start["headers"], (b"etag", tag.encode())]
    if known is None or not matches_etag(known, tag):
        return {**start, "headers": headers}, body
    kept = [pair for pair in headers if pair[0] not in {b"content-type", b"content-length"}]
    return (
        {**start, "status": int(HTTPStatus.NOT_MODIFIED), "headers": kept},
        {"type": "http.response.body", "body": b""},
    )


def matches_etag(condition: str, tag: str) -> bool:
    """Return True if ``condition``, a list of ETags in a header, contains ``tag`` or ``*``.

    The prefix ``W/`` of weak ETags is ignored.
    """
    named = [one.strip().removeprefix("W/") for one in condition.split(",")]
    return "*" in named or tag in named


_ONE_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class UnsatisfiableRangeError(ValueError):
    """The requested range contains no byte of the file.

    Args:
        size: The number of bytes of the file.
    """

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The file has only {size} bytes. Request a range that begins before byte {size}."
        )


def wanted_range(header: str | None, *, size: int) -> tuple[int, int] | None:
    """Return the bytes that a ``Range`` header requests, as ``(start, end)``; ``end`` is exclusive.

    The result is None (the whole file) if the header is missing or invalid, or requests several
    ranges. A server may ignore such a header (RFC 9110, 14.2). This function replaces werkzeug's
    ``parse_range_header``, which refuses ``bytes=-1000`` for a file with fewer than 1,000 bytes,
    and reads ``bytes=-0`` as the whole file.

    Args:
        header: The value of the header; None if missing.
        size: Size of the file in bytes.

    Raises:
        UnsatisfiableRangeError: The range contains no byte of the file.
    """
    found = _ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(size, int(last) + 1) if last else size
        is_backwards = bool(last) and int(last) < start
    else:
        start, end = max(0, size - int(last or 0)), size
        is_backwards = not last
    if is_backwards:
        return None
    if start >= end:
        raise UnsatisfiableRangeError(size)
    return start, end
