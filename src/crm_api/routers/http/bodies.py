"""Check the body and the ``Accept`` header of each request before its route runs.

The checks are: size of the body, media type, and strict JSON. File uploads are not read here: their
routes write the file to disk piece by piece, and have their own limits.
"""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.kit.errors import (
    CrmError,
    Example,
    TooLargeError,
    UnacceptableError,
    UnreadableKindError,
)
from crm_api.routers.http import problems, strict_json
from crm_api.routers.http.csv_responses import preference
from crm_api.routers.http.paths import JSON, paths_of

LARGEST_BODY = 1024 * 1024
"""Largest accepted JSON body in bytes. Uploads and webhooks have their own limits."""
_LENGTH_DIGITS = 15
"""Largest number of digits in the header ``Content-Length`` that are parsed.

If the header has more digits, the request is refused as too large.
"""
RESOURCES = "/v1/"
_UPLOADS = ("/v1/imports", "/v1/do-not-contact-uploads")
_MEDIA = "/v1/media"
_WEBHOOKS = "/webhooks/"
_FORM = "multipart/form-data"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BodyTooLargeError(TooLargeError):
    """The request body is larger than the limit for JSON bodies."""

    code = "body_too_large"
    title = "Body too large"
    example = Example(
        "The request body has 2097152 bytes, but at most 1048576 bytes are accepted. Split the "
        "data into several requests."
    )


class UnsupportedMediaTypeError(UnreadableKindError):
    """The operation does not accept request bodies with this ``Content-Type``."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    example = Example("text/plain", accepted=[JSON])

    def __init__(self, kind: str, *, accepted: Iterable[str]) -> None:
        fault = (
            f"This operation does not accept a request body with the Content-Type {kind[:100]}"
            if kind
            else "The request has a body but no Content-Type"
        )
        super().__init__(f"{fault}. Send the body as {' or '.join(sorted(accepted))}.")


class NotAcceptableError(UnacceptableError):
    """The operation cannot respond with any of the media types in the header ``Accept``."""

    code = "not_acceptable"
    title = "Not acceptable"
    example = Example([JSON])

    def __init__(self, offered: Iterable[str]) -> None:
        given = " or ".join(sorted(offered))
        super().__init__(
            f"This operation responds only with {given}, which the Accept header does not allow. "
            f"Add {given} to Accept, or send no Accept header."
        )


class BodyMiddleware:
    """ASGI middleware that checks bodies and ``Accept`` headers of requests to ``/v1/``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request and pass it on; if a check fails, send an error response."""
        if scope["type"] == "http" and scope["path"].startswith(RESOURCES):
            try:
                _check_accept(scope)
                if scope["method"] in _WITH_BODY:
                    receive = await _read(scope, receive)
            except CrmError as error:
                answer = await problems.on_crm_error(Request(scope), error)
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def check_declared(scope: Scope) -> None:
    """Refuse a request whose ``Content-Length`` is too large, before its body is read.

    Uploads and webhooks have their own limits, so this function does not check them.

    Raises:
        BodyTooLargeError: ``Content-Length`` is above ``LARGEST_BODY``.
    """
    declared = (header(scope, b"content-length") or "").lstrip("0")
    path = scope["path"]
    if not declared.isdecimal() or _takes_upload(path) or path.startswith(_WEBHOOKS):
        return
    if len(declared) > _LENGTH_DIGITS or int(declared) > LARGEST_BODY:
        raise _too_large(f"The request body has {declared[:_LENGTH_DIGITS]} bytes")


def _takes_upload(path: str) -> bool:
    """Return True if the path is for file uploads, which have their own size limit."""
    return path == _MEDIA or path.startswith(_UPLOADS)


def header(scope: Scope, wanted: bytes) -> str | None:
    """Return the first value of a request header; None if the request does not have it.

    Args:
        scope: The ASGI scope of the request.
        wanted: Name of the header in lower case.
    """
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None


def _check_accept(scope: Scope) -> None:
    """Refuse a request whose client accepts none of the response types of the operation.

    The route of the request does not run.

    Raises:
        NotAcceptableError: ``Accept`` allows no media type that the operation can return.
    """
    accept = ",".join(
        value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"
    )
    if accept in {"", "*/*"}:
        return
    takes_json = preference(accept, JSON) > 0
    paths = paths_of(scope["app"].state)
    found = paths.giving_no_json(scope["path"]) if takes_json else paths.at(scope["path"])
    operation = found.get(scope["method"])
    if operation is None or not operation.gives:
        return
    if not any("*" in kind or preference(accept, kind) > 0 for kind in operation.gives):
        raise NotAcceptableError(operation.gives)


async def _read(scope: Scope, receive: Receive) -> Receive:
    """Read and check the body; return a ``receive`` function that delivers it to the route.

    Raises:
        BodyTooLargeError: The body has more bytes than the limit.
        UnsupportedMediaTypeError: The operation does not accept the media type.
        MalformedJsonError: The body is not JSON in UTF-8, or an object has a name twice.
        UnusableJsonError: The JSON is nested too deeply, or a number is out of range.
    """
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind == _FORM and _takes_upload(scope["path"]):
        return receive
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return giving(None, receive)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise _too_large("The request body is too large")
        if not message.get("more_body", False):
            break
    if body:
        is_json = kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))
        _check_kind(scope, JSON if is_json else kind)
        if is_json:
            strict_json.check(bytes(body))
    return giving(bytes(body), receive)


def _check_kind(scope: Scope, kind: str) -> None:
    paths = paths_of(scope["app"].state)
    path = scope["path"]
    found = paths.taking_no_json(path) if kind == JSON else paths.at(path)
    operation = found.get(scope["method"])
    if operation is None or not operation.takes or kind in operation.takes:
        return
    raise UnsupportedMediaTypeError(kind, accepted=operation.takes)


def giving(body: bytes | None, receive: Receive) -> Receive:
    """Return an ASGI ``receive`` function that first returns the body that was already read.

    The first call returns the body as one message. Each later call returns the result of
    ``receive``.

    Args:
        body: The complete body of the request. None means that the client has disconnected: the
            first call then returns a disconnect message instead of a body.
        receive: The ``receive`` function of the server.
    """
    message: Message = (
        {"type": "http.disconnect"}
        if body is None
        else {"type": "http.request", "body": body, "more_body": False}
    )
    is_given = False

    async def give() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return message

    return give


def _too_large(what: str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"{what}, but at most {LARGEST_BODY} bytes are accepted. Split the data into several "
        "requests."
    )
