"""Every failure becomes one RFC 9457 problem document, here and nowhere else."""

import socket
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import asyncpg
import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from crm_api.domain.errors import (
    ConflictError,
    CrmError,
    ForbiddenError,
    InvalidError,
    MalformedError,
    NotFoundError,
    PreconditionFailedError,
    RateLimitedError,
    TooLargeError,
    TransientError,
    UnacceptableError,
    UnauthenticatedError,
    UnreadableKindError,
)
from crm_api.domain.faults import faults_of
from crm_api.routers.handled import route_of
from crm_api.routers.paths import paths_of
from crm_api.routers.phrases import phrase_of

log = structlog.get_logger()

STATUS_OF_KIND: dict[type[CrmError], int] = {
    MalformedError: 400,
    TooLargeError: 413,
    NotFoundError: 404,
    UnacceptableError: 406,
    ConflictError: 409,
    PreconditionFailedError: 412,
    UnreadableKindError: 415,
    InvalidError: 422,
    UnauthenticatedError: 401,
    ForbiddenError: 403,
    RateLimitedError: 429,
    TransientError: 503,
}
RETRY_AFTER_SECONDS = 5
UNREACHABLE = (ConnectionError, FileNotFoundError, TimeoutError, socket.gaierror)
"""What connecting raises: refused or reset, no socket file, too slow, no such host."""
MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 100
"""Told of one request: a body of ten thousand wrong items is not answered with a megabyte."""


def problem(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    extras: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with the document."""
    body = _document(
        request.url.path, status=status, code=code, title=title, detail=detail, extras=extras
    )
    return Response(
        orjson.dumps(body, default=str), status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def document(failure: CrmError, *, path: str) -> dict[str, Any]:
    """Build the document of an expected failure that is one of several in an answer."""
    return _document(
        path,
        status=status_of(failure),
        code=failure.code,
        title=failure.title,
        detail=failure.detail,
        extras=_extras(failure),
    )


def _document(
    path: str,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    extras: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Build the document; ``extras`` become members beside the standard ones, never instead."""
    return {
        **(extras or {}),
        "type": f"urn:crm-api:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
    }


def _extras(failure: CrmError) -> dict[str, Any]:
    if isinstance(failure, InvalidError):
        return failure.extras | {"errors": [vars(fault) for fault in failure.errors]}
    return dict(failure.extras)


def status_of(error: CrmError) -> int:
    """Return the status of the error's kind."""
    for kind, status in STATUS_OF_KIND.items():
        if isinstance(error, kind):
            return status
    return 500


async def on_crm_error(request: Request, error: Exception) -> Response:
    """Answer an expected failure."""
    failure = cast("CrmError", error)
    status = status_of(failure)
    extras = _extras(failure)
    headers: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["Retry-After"] = str(extras.pop("retry_after_seconds", RETRY_AFTER_SECONDS))
    return problem(
        request,
        status=status,
        code=failure.code,
        title=failure.title,
        detail=failure.detail,
        extras=extras,
        headers=headers,
    )


def _path(location: Sequence[int | str]) -> tuple[int | str, ...]:
    source, *path = location
    shown = path if source in {"body", "query", "path", "header"} else location
    return tuple(shown) or ("",)


def _errors_of(error: RequestValidationError) -> list[dict[str, str]]:
    told = error.errors()[:MOST_FAULTS]
    errors = [{**fault, "loc": _path(fault["loc"])} for fault in told]
    return [vars(fault) for fault in faults_of(cast("list[ErrorDetails]", errors))]


_OTHER_SHAPE = {"uuid_parsing", "uuid_type"}


async def _no_such_id(request: Request) -> Response:
    """Answer for a path in which something stands that can be no id: nothing is there.

    Such a path may still be another one's, which takes other methods: ``/v1/segments/preview``.
    """
    is_known = bool(paths_of(request.app.state).allowed(request.url.path))
    status = HTTPStatus.METHOD_NOT_ALLOWED if is_known else HTTPStatus.NOT_FOUND
    return await on_http_error(request, HTTPException(status))


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Answer a request that does not fit its schema, with a pointer to each fault."""
    invalid = cast("RequestValidationError", error)
    faults = _errors_of(invalid)
    if any(
        fault["loc"][0] == "path" and fault["type"] in _OTHER_SHAPE for fault in invalid.errors()
    ):
        return await _no_such_id(request)
    return problem(
        request,
        status=422,
        code="validation_failed",
        title="Invalid input",
        detail=f"{len(invalid.errors())} fault(s); the first at {faults[0]['pointer']}.",
        extras={"errors": faults},
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer the framework's own refusals (unknown path, wrong method, unreadable body)."""
    refusal = cast("HTTPException", error)
    status = HTTPStatus(refusal.status_code)
    headers = dict(refusal.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(paths_of(request.app.state).allowed(request.url.path))
    return problem(
        request,
        status=status,
        code=phrase_of(status).lower().replace(" ", "_").replace("-", "_"),
        title=phrase_of(status),
        detail=str(refusal.detail) if refusal.detail != status.phrase else status.description,
        headers=headers,
    )


async def on_database_error(request: Request, error: Exception) -> Response:
    """Answer 503 when the database is away, 422 for text it cannot hold, else 500."""
    if is_unstorable_text(error):
        return problem(
            request,
            status=422,
            code="unstorable_text",
            title="Text cannot be stored",
            detail="A text holds a NUL character or half a surrogate pair; leave it out.",
            extras={"errors": []},
        )
    if not database_is_away(error):
        return await on_bug(request, error)
    log.warning("database away", route=route_of(request.scope), error=type(error).__name__)
    return problem(
        request,
        status=503,
        code="database_unavailable",
        title="Temporarily unavailable",
        detail="The database cannot be used right now; try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


_UNDEFINED = {"42P01", "42703"}
"""A table or a column that the code expects is not there."""


def schema_is_older(error: BaseException) -> bool:
    """True when the failure means that the migrations of this code have not run yet."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _UNDEFINED


def database_is_away(error: BaseException) -> bool:
    """True when the failure means that the database is unreachable, starting or stopping."""
    if isinstance(error, (InterfaceError, PoolTimeoutError, *UNREACHABLE)):
        return True
    if isinstance(error, (asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        return True
    if isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        return True
    original = getattr(error, "orig", None)
    state = getattr(original, "sqlstate", None) or getattr(error, "sqlstate", None) or ""
    # Class 57: the operator intervened (shutting down, starting up); 53: out of resources.
    return str(state)[:2] in {"57", "53", "08"}


def is_unstorable_text(error: BaseException) -> bool:
    """True when a text has a character that PostgreSQL or UTF-8 cannot hold."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, UnicodeEncodeError):
            return True
        if getattr(chain, "sqlstate", None) in {"22021", "22P05"}:
            return True
        chain = chain.__cause__
    return False


async def on_bug(request: Request, error: Exception) -> Response:
    """Answer 500 without telling anything; the traceback goes to the log."""
    log.error("unhandled error", route=route_of(request.scope), exc_info=error)
    return problem(
        request,
        status=500,
        code="internal_error",
        title="Internal error",
        detail="Something went wrong here. The request id leads to the log entry.",
    )


def install(app: FastAPI) -> None:
    """Register every handler."""
    app.add_exception_handler(CrmError, on_crm_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_error)
    for kind in (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        app.add_exception_handler(kind, on_database_error)
    for unreachable in UNREACHABLE:
        app.add_exception_handler(unreachable, on_database_error)
    app.add_exception_handler(Exception, on_bug)
