"""What a request sends and asks for, looked at before any route: size, kind, strict JSON.

Bodies are read here once and handed on whole; uploads go on as they come, since their routes
stream them to disk and have limits of their own.
"""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.errors import (
    CrmError,
    TooLargeError,
    UnacceptableError,
    UnreadableKindError,
)
from crm_api.routers import problems, strict_json
from crm_api.routers.csv_answers import preference
from crm_api.routers.paths import JSON, paths_of

LARGEST_BODY = 1024 * 1024
"""Bytes of a body of JSON; uploads and webhooks have limits of their own."""
_LENGTH_DIGITS = 15
"""Of a length that is still read as a number."""
RESOURCES = "/v1/"
_UPLOADS = ("/v1/imports", "/v1/do-not-contact-uploads")
_OWN_LIMIT = (*_UPLOADS, "/webhooks/")
_FORM = "multipart/form-data"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BodyTooLargeError(TooLargeError):
    """The body is larger than any request needs."""

    code = "body_too_large"
    title = "Body too large"


class UnsupportedMediaTypeError(UnreadableKindError):
    """The body's ``Content-Type`` is none that is read here."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


class NotAcceptableError(UnacceptableError):
    """No kind of answer that ``Accept`` names is given here."""

    code = "not_acceptable"
    title = "Not acceptable"


class BodyMiddleware:
    """Plain ASGI; requests outside of ``/v1/`` pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
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
    """Refuse, unread, a body that says itself that it is too large.

    Raises:
        BodyTooLargeError: By its ``Content-Length``.
    """
    declared = (header(scope, b"content-length") or "").lstrip("0")
    if not declared.isdecimal() or scope["path"].startswith(_OWN_LIMIT):
        return
    if len(declared) > _LENGTH_DIGITS or int(declared) > LARGEST_BODY:
        raise _too_large(f"The body has {declared[:_LENGTH_DIGITS]} bytes")


def header(scope: Scope, wanted: bytes) -> str | None:
    """Return a header's first value; None when it was not sent."""
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None


def _check_accept(scope: Scope) -> None:
    """Refuse a request for what is not given here, before anything is done for it.

    Raises:
        NotAcceptableError: No documented kind of answer is accepted.
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
        raise NotAcceptableError(f"The answer is {given}; name it in Accept, or leave that out.")


async def _read(scope: Scope, receive: Receive) -> Receive:
    """Read and check the body; what comes back gives it once more.

    Raises:
        BodyTooLargeError: It has more bytes than are taken.
        UnsupportedMediaTypeError: It is of a kind that the operation does not take.
        MalformedJsonError: It is no JSON in UTF-8, or a name comes twice.
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
            raise _too_large("The body is longer than it may be")
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
    sent = f"{kind[:100]} is not read here" if kind else "The body has no Content-Type"
    raise UnsupportedMediaTypeError(f"{sent}; send it as {taken}.")


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
    return BodyTooLargeError(f"{what}; {LARGEST_BODY} bytes are taken. Send it in parts.")
