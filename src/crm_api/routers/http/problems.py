"""Turn every error into an error response: a problem document as in RFC 9457."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
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

from crm_api.domain.kit.errors import (
    ConflictError,
    CrmError,
    ForbiddenError,
    GoneError,
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
from crm_api.domain.kit.validation_errors import (
    LocatedError,
    fault_of,
    join_unions,
    locate,
    locate_parameter,
)
from crm_api.routers.http.paths import paths_of
from crm_api.routers.http.request_outcome import route_of

log = structlog.get_logger()

STATUS_OF_KIND: dict[type[CrmError], int] = {
    MalformedError: 400,
    TooLargeError: 413,
    NotFoundError: 404,
    UnacceptableError: 406,
    ConflictError: 409,
    GoneError: 410,
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
"""Exceptions that are raised if a connection fails: it is refused, the socket file is missing,
there is a timeout, or the host is unknown."""
MEDIA_TYPE = "application/problem+json"
DEFECT = (
    "The server failed because of a defect in its code. Report the defect to the operator, with "
    "the request id from the header X-Request-ID."
)
MOST_FAULTS = 100
"""Largest number of invalid values that one error response lists. The limit keeps the response
small."""
_MOST_LOCATED = 10 * MOST_FAULTS
"""Largest number of validation errors whose location is read. A body may cause very many errors."""


class UnstorableTextError(InvalidError):
    """A string contains a character that the database cannot store."""

    code = "unstorable_text"
    title = "Text cannot be stored"
    detail = (
        "A string in the request contains a NUL character or half of a surrogate pair, which "
        "cannot be stored. Remove that character."
    )


class DatabaseUnavailableError(TransientError):
    """The database of the service is temporarily unavailable."""

    code = "database_unavailable"
    detail = (
        "The database of the service is not available at the moment. Send the request again in "
        "a few seconds."
    )


class ServiceStoppingError(TransientError):
    """The service stopped during the request. It is unknown whether the change was made."""

    code = "service_stopping"
    detail = (
        "The service stopped before this request had ended. Send the request again in a few "
        "seconds, with the same Idempotency-Key if it had one."
    )


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
    """Return an error response with a problem document."""
    body = _document(
        request.url.path, status=status, code=code, title=title, detail=detail, extras=extras
    )
    return Response(
        orjson.dumps(body, default=str), status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def document(failure: CrmError, *, path: str) -> dict[str, Any]:
    """Return the problem document of one failed item, for a response with several results."""
    return _document(
        path,
        status=status_of(failure),
        code=failure.code,
        title=failure.title,
        detail=failure.detail,
        extras=extras_of(failure),
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
    """Return a problem document.

    The members in ``extras`` are added. They do not replace standard members.
    """
    standard = {
        "type": f"urn:crm-api:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
    }
    return {**standard, **(extras or {}), **standard}


def extras_of(failure: CrmError) -> dict[str, Any]:
    """Return the additional fields of the problem document for an error."""
    if isinstance(failure, InvalidError):
        return failure.extras | {"errors": [vars(fault) for fault in failure.errors]}
    return dict(failure.extras)


def status_of(error: CrmError) -> int:
    """Return the HTTP status for the base class of the error; 500 for an unknown base class.

    For example, an error class that inherits from ``InvalidError`` has the status 422.
    """
    for kind, status in STATUS_OF_KIND.items():
        if isinstance(error, kind):
            return status
    return 500


async def on_crm_error(request: Request, error: Exception) -> Response:
    """Return the response to an error of the domain (a ``CrmError``)."""
    failure = cast("CrmError", error)
    status = status_of(failure)
    extras = extras_of(failure)
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


def _groups_of(
    errors: Sequence[ErrorDetails],
    body: Any,  # noqa: ANN401 - JSON, a form or bytes
) -> list[list[LocatedError]]:
    """Return the errors in the order of the request, those of one value in one group."""
    located = []
    for one in errors:
        source, *path = one["loc"]
        inside = cast("ErrorDetails", {**one, "loc": tuple(path)})
        if source == "body":
            found = locate(inside, body)
            # The pointer to the whole body is ``/``.
            located.append(found if found.path else replace(found, path=("",)))
        else:
            located.append(locate_parameter(inside))
    return join_unions(located)


def _body_type(request: Request) -> Any:  # noqa: ANN401 - a type
    field = getattr(request.scope.get("route"), "body_field", None)
    return None if field is None else field.field_info.annotation


_OTHER_SHAPE = {"uuid_parsing", "uuid_type"}


async def _no_such_id(request: Request, parameter: str) -> Response:
    """Return the response to a request whose path contains an id that is not a UUID.

    The status is 404, or 405 if the path exists with other methods. For example, the path
    ``/v1/segments/preview`` exists only with POST, so a GET gets 405.
    """
    if paths_of(request.app.state).allowed(request.url.path):
        return await on_http_error(request, HTTPException(HTTPStatus.METHOD_NOT_ALLOWED))
    detail = (
        f"Nothing has this id, because `{parameter}` in the path is not a UUID. Use an id as the "
        "API returns it, for example in a list."
    )
    return await on_http_error(request, HTTPException(HTTPStatus.NOT_FOUND, detail))


def describe_faults(count: int, *, first: str) -> str:
    """Return the ``detail`` of a response that lists invalid values.

    Args:
        count: The number of invalid values.
        first: JSON pointer to the first invalid value.
    """
    return (
        f"The request has {count} invalid value(s). The first is at {first}. Correct all of them "
        "as `errors` describes."
    )


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Return the 422 response to a request that does not match its schema.

    The response lists the invalid values, each with a JSON pointer. If an id in the path is not a
    UUID, the status is 404 or 405 instead.
    """
    invalid = cast("RequestValidationError", error)
    errors = cast("Sequence[ErrorDetails]", invalid.errors())
    for one in errors:
        if one["loc"][0] == "path" and one["type"] in _OTHER_SHAPE:
            return await _no_such_id(request, str(one["loc"][1]))
    groups = _groups_of(errors[:_MOST_LOCATED], invalid.body)
    count = len(groups) + len(errors[_MOST_LOCATED:])
    faults = [vars(fault_of(group, model=_body_type(request))) for group in groups[:MOST_FAULTS]]
    return problem(
        request,
        status=422,
        code="validation_failed",
        title="Invalid input",
        detail=describe_faults(count, first=faults[0]["pointer"]),
        extras={"errors": faults},
    )


_SINCE_PYTHON_3_13 = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "Range Not Satisfiable",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
}
"""Reason phrases of RFC 9110 for the statuses that have older phrases in Python before 3.13.

Error codes and names in the OpenAPI document contain reason phrases. They must not depend on the
version of Python.
"""


def phrase_of(status: HTTPStatus) -> str:
    """Return the reason phrase of a status as in RFC 9110, such as ``Not Found``."""
    return _SINCE_PYTHON_3_13.get(status, status.phrase)


NEXT_STEPS = {
    HTTPStatus.NOT_FOUND: "No operation of the API has this path. Compare it with the paths in "
    "GET /docs.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not support the method of the request. Use one "
    "of the methods in the header `Allow` of this response.",
}
"""The field ``detail`` of the responses to errors of the framework that have no own text."""


async def on_http_error(request: Request, error: Exception) -> Response:
    """Return the response to an error of the framework: unknown path, wrong method, bad body."""
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
        detail=str(refusal.detail)
        if refusal.detail != status.phrase
        else NEXT_STEPS.get(status, status.description),
        headers=headers,
    )


async def on_database_error(request: Request, error: Exception) -> Response:
    """Return the response to a database error.

    The status is 503 if the database is unavailable, and 422 if the database cannot store a
    character in the request. The status for all other errors is 500.
    """
    if is_unstorable_text(error):
        return await on_crm_error(request, UnstorableTextError())
    if not database_is_away(error):
        return await on_bug(request, error)
    log.warning(
        "request refused because the database is unavailable",
        route=route_of(request.scope),
        error=type(error).__name__,
    )
    return await on_crm_error(request, DatabaseUnavailableError())


_UNDEFINED = {"42P01", "42703"}
"""SQLSTATE codes for a table or a column that does not exist."""


def schema_is_older(error: BaseException) -> bool:
    """Return True if the error means that a table or column does not exist.

    The schema of the database is then too old for this code: a migration has not run yet.
    """
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _UNDEFINED


def database_is_away(error: BaseException) -> bool:
    """Return True if the error means that the database is unreachable, starting or stopping."""
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
    # The first two characters of an SQLSTATE code are its class. 57 means shutdown or start of the
    # server, 53 means a lack of resources, and 08 means a failed connection.
    return str(state)[:2] in {"57", "53", "08"}


def is_unstorable_text(error: BaseException) -> bool:
    """Return True if the error means that PostgreSQL or UTF-8 cannot represent a character."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, UnicodeEncodeError):
            return True
        if getattr(chain, "sqlstate", None) in {"22021", "22P05"}:
            return True
        chain = chain.__cause__
    return False


async def on_bug(request: Request, error: Exception) -> Response:
    """Log an unexpected exception with its traceback, and return a 500 response without details."""
    log.error("unhandled error", route=route_of(request.scope), exc_info=error)
    return problem(
        request,
        status=500,
        code="internal_error",
        title="Internal error",
        detail=DEFECT,
    )


def install(app: FastAPI) -> None:
    """Register the functions of this module as the application's exception handlers."""
    app.add_exception_handler(CrmError, on_crm_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_error)
    for kind in (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        app.add_exception_handler(kind, on_database_error)
    for unreachable in UNREACHABLE:
        app.add_exception_handler(unreachable, on_database_error)
    app.add_exception_handler(Exception, on_bug)
