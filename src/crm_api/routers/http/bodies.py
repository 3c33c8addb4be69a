"""Check the body and the ``Accept`` header of a request before any route: size, type, strict JSON.

A body is read here once and passed on whole. Uploads are passed on unread: their routes stream them
to disk and have their own limits.
"""

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
from crm_api.routers.http.csv_answers import preference
from crm_api.routers.http.paths import JSON, paths_of

LARGEST_BODY = 1024 * 1024
"""Maximum bytes of a JSON body; uploads and webhooks have their own limits."""
_LENGTH_DIGITS = 15
"""Maximum digits of a ``Content-Length`` that is read as a number."""
RESOURCES = "/v1/"
_UPLOADS = ("/v1/imports", "/v1/do-not-contact-uploads")
_OWN_LIMIT = (*_UPLOADS, "/webhooks/")
_FORM = "multipart/form-data"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BodyTooLargeError(TooLargeError):
    """The body is larger than the limit for JSON bodies."""

    code = "body_too_large"
    title = "Body too large"
    example = Example(
        "The body has 2097152 bytes; at most 1048576 bytes are accepted. Send it in parts."
    )


class UnsupportedMediaTypeError(UnreadableKindError):
    """The operation does not accept the body's ``Content-Type``."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


class NotAcceptableError(UnacceptableError):
    """The operation cannot answer with any media type in ``Accept``."""

    code = "not_acceptable"
    title = "Not acceptable"


class BodyMiddleware:
    """Plain ASGI; requests outside ``/v1/`` pass unchecked."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its checked body, or answer with a problem."""
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
    """Refuse a body by its ``Content-Length``, without reading it.

    Raises:
        BodyTooLargeError: The declared length is above the limit.
    """
    declared = (header(scope, b"content-length") or "").lstrip("0")
    if not declared.isdecimal() or scope["path"].startswith(_OWN_LIMIT):
        return
    if len(declared) > _LENGTH_DIGITS or int(declared) > LARGEST_BODY:
        raise _too_large(f"The body has {declared[:_LENGTH_DIGITS]} bytes")


def header(scope: Scope, wanted: bytes) -> str | None:
    """Return the first value of a header; None if it was not sent."""
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None


def _check_accept(scope: Scope) -> None:
    """Refuse a request whose answer the client cannot accept, before the route does any work.

    Raises:
        NotAcceptableError: ``Accept`` allows no media type of the operation.
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
        given = " or ".join(sorted(operation.gives))
        raise NotAcceptableError(
            f"This operation answers with {given}. Add it to Accept, or send no Accept header."
        )


async def _read(scope: Scope, receive: Receive) -> Receive:
    """Read and check the body. Return a ``receive`` that gives the body again.

    Raises:
        BodyTooLargeError: It has more bytes than the limit.
        UnsupportedMediaTypeError: The operation does not accept its media type.
        MalformedJsonError: It is not JSON in UTF-8, or an object has a name twice.
        UnusableJsonError: It is nested too deeply, or a number is out of range.
    """
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind == _FORM and scope["path"].startswith(_UPLOADS):
        return receive
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _giving(message, receive)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise _too_large("The body is too large")
        if not message.get("more_body", False):
            break
    if body:
        is_json = kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))
        _check_kind(scope, JSON if is_json else kind)
        if is_json:
            strict_json.check(bytes(body))
    return _giving({"type": "http.request", "body": bytes(body), "more_body": False}, receive)


def _check_kind(scope: Scope, kind: str) -> None:
    paths = paths_of(scope["app"].state)
    path = scope["path"]
    found = paths.taking_no_json(path) if kind == JSON else paths.at(path)
    operation = found.get(scope["method"])
    if operation is None or not operation.takes or kind in operation.takes:
        return
    taken = " or ".join(sorted(operation.takes))
    sent = f"{kind[:100]} is not accepted here" if kind else "The body has no Content-Type"
    raise UnsupportedMediaTypeError(f"{sent}. Send the body as {taken}.")


def _giving(message: Message, receive: Receive) -> Receive:
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
        f"{what}; at most {LARGEST_BODY} bytes are accepted. Send it in parts."
    )
