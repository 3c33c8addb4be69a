"""Add to each operation of the OpenAPI document the error responses that it can return.

The catalogue lists all error codes of the API, with status, title, meaning and an example.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field
from pydantic.json_schema import models_json_schema

from crm_api import domain
from crm_api.domain.kit.docstrings import first_paragraph
from crm_api.domain.kit.errors import CrmError, Example
from crm_api.domain.kit.phone import InvalidPhoneError
from crm_api.domain.kit.schemas import DocumentedModel
from crm_api.routers.http import problems
from crm_api.routers.http.dry_run_calls import call_maker
from crm_api.routers.http.openapi.headers import headers_of, reference_headers
from crm_api.routers.http.openapi.naming import PREFIX, Node, camel
from crm_api.routers.http.openapi.security import calls, is_open, scope_of
from crm_api.routers.http.preconditions import UnsatisfiableRangeError
from crm_api.routers.http.problems import MEDIA_TYPE, phrase_of
from crm_api.routers.http.query_parameters import known_parameters
from crm_api.routers.http.route_notes import PROBLEMS
from crm_api.routers.http.strict_json import MalformedJsonError


@dataclass(frozen=True, kw_only=True)
class ProblemKind:
    """One error code of the API.

    Attributes:
        code: Stable code for programs.
        title: Short text for people, the same in every response with this code.
        meaning: What the code means, in words that fit every request.
        detail: An example of the text in a response; it says what to do next.
        extras: Example values of the additional fields that some error responses have.
    """

    code: str
    title: str
    status: int
    meaning: str
    detail: str
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """An example of the problem document (RFC 9457)."""
        return {
            "type": f"urn:crm-api:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": "/v1/…",
            "code": self.code,
            **self.extras,
        }


_SHORT = InvalidPhoneError("The number is too short: ten digits are needed.")
_WITHOUT_ONE_CLASS = (
    ProblemKind(
        status=400,
        code="malformed_json",
        title="Malformed JSON",
        meaning="The request body is not valid JSON.",
        detail=MalformedJsonError().detail,
    ),
    ProblemKind(
        status=404,
        code="not_found",
        title="Not Found",
        meaning="Nothing exists at this path.",
        detail=problems.NEXT_STEPS[HTTPStatus.NOT_FOUND],
    ),
    ProblemKind(
        status=405,
        code="method_not_allowed",
        title="Method Not Allowed",
        meaning="The path does not support this method.",
        detail=problems.NEXT_STEPS[HTTPStatus.METHOD_NOT_ALLOWED],
    ),
    ProblemKind(
        status=416,
        code="range_not_satisfiable",
        title="Range not satisfiable",
        meaning="The file is too short for the requested range of bytes.",
        detail=str(UnsatisfiableRangeError(378)),
    ),
    ProblemKind(
        status=422,
        code="validation_failed",
        title="Invalid input",
        meaning="The request does not match its schema.",
        detail=problems.describe_faults(1, first="/phone"),
        extras=problems.extras_of(_SHORT),
    ),
    ProblemKind(
        status=500,
        code="internal_error",
        title="Internal error",
        meaning="The server failed because of a defect in its code.",
        detail=problems.DEFECT,
    ),
)
"""Errors that do not have exactly one class in the code. They have no class, or several classes use
the same error code."""


def catalogue() -> list[ProblemKind]:
    """Import all domain modules; return all error codes, sorted by status and then by code.

    Raises:
        TypeError: An error class has neither a ``detail`` nor an example that fits its constructor.
    """
    for module in pkgutil.walk_packages(domain.__path__, "crm_api.domain."):
        importlib.import_module(module.name)
    return sorted(_known().values(), key=lambda one: (one.status, one.code))


@cache
def kinds() -> dict[str, ProblemKind]:
    """Return the known errors by error code.

    The result of the first call is kept, so error classes that are imported later are missing.
    """
    return _known()


def _known() -> dict[str, ProblemKind]:
    described = [*map(_of_class, _classes(CrmError)), *_WITHOUT_ONE_CLASS]
    return {one.code: one for one in described}


def _classes(kind: type[CrmError]) -> Iterator[type[CrmError]]:
    """Yield all direct and indirect subclasses of ``kind``, each before its own subclasses.

    Classes that only group their subclasses are left out.

    The direct subclasses of a class are sorted by module and name. Without this order, the
    documentation would depend on the order of imports if two classes have the same code.
    """
    for error in sorted(kind.__subclasses__(), key=lambda one: (one.__module__, one.__name__)):
        if not groups_only(error):
            yield error
        yield from _classes(error)


def groups_only(error: type[CrmError]) -> bool:
    """Return True for a class that is never raised itself, so that no response has its code."""
    return error in problems.STATUS_OF_KIND or vars(error).get("is_abstract", False)


def _of_class(error: type[CrmError]) -> ProblemKind:
    shown = _example(error)
    extras = problems.extras_of(shown)
    # This value is sent as a header, not in the body.
    extras.pop("retry_after_seconds", None)
    return ProblemKind(
        code=error.code,
        title=error.title,
        status=problems.status_of(shown),
        meaning=first_paragraph(error.__doc__),
        detail=shown.detail,
        extras=extras,
    )


def _example(error: type[CrmError]) -> CrmError:
    """Create an error of a class, with the arguments that the class gives for the documentation.

    Raises:
        TypeError: The constructor needs other arguments, for example because the class has no
            example.
    """
    example = vars(error).get("example") or Example()
    try:
        return error(*example.args, **example.kwargs)
    except TypeError as wrong:
        raise TypeError(
            f"{error.__module__}.{error.__name__} needs an `example` that fits its constructor: "
            f"{wrong}"
        ) from wrong


class FieldProblem(DocumentedModel):
    """One invalid value in the request.

    Attributes:
        pointer: JSON pointer to the invalid value in the request body, or `/` and the name of a
            parameter.
        code: Stable code of the fault, for programs.
        detail: What is wrong with the value, as a sentence for people.
    """

    pointer: str
    code: str
    detail: str


class Problem(DocumentedModel):
    """An error response (RFC 9457). Some errors have further fields, such as ``contact_id``.

    Attributes:
        type: A URN that ends with the value of ``code``.
        title: A short text for people, the same for every error with this code.
        status: The status of the HTTP response.
        detail: What happened and what to do next, as text for people.
        instance: The path of the request.
        code: The stable code of the error, for programs.
        errors: The invalid values in the request; empty if the error has another cause.
    """

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem] = Field(default_factory=list)


KNOWN = ("missing_credentials", "invalid_credentials", "api_key_expired", "api_key_revoked")
"""Error codes for a missing, unknown, expired or revoked API key. If an access token is refused,
the code is ``session_over``."""
_LONGEST_NAME = 60
_PARAMETER = re.compile(r"\{(\w+)[}:]")
_COLLECTION = re.compile(r"/([a-z-]+)s/\{")
_THINGS = {
    "candidate": "merge_candidate",
    "change": "tag_change",
    "check": "webhook_health_check",
    "delivery": "webhook_delivery",
    "endpoint": "webhook_endpoint",
    "event": "webhook_event",
    "fetch": "media_fetch",
    "field": "custom_field",
    "key": "api_key",
    "upload": "do_not_contact_upload",
}
"""For the name of a path parameter without ``_id``, the word that its error code has before
``_not_found``.

Only words that differ from the name of the parameter are listed. For example, the error code for
``delivery_id`` is ``webhook_delivery_not_found``.
"""


def add_problem(document: Node) -> None:
    """Add the schemas ``Problem`` and ``FieldProblem``. Call this before ``name_schemas``."""
    _, found = models_json_schema([(Problem, "validation")], ref_template=f"{PREFIX}{{model}}")
    document["components"]["schemas"] |= found["$defs"]


def complete(document: Node, operation: Node, route: APIRoute) -> None:
    """Add the error responses of an operation: one per status, with all codes of this status."""
    operation["responses"].pop("422", None)
    shared: Node = document["components"].setdefault("responses", {})
    known: Node = document["components"].setdefault("examples", {})
    by_status: dict[int, list[ProblemKind]] = {}
    for code in sorted(codes_of(operation, route)):
        kind = kinds()[code]
        by_status.setdefault(kind.status, []).append(kind)
    for status, met in sorted(by_status.items()):
        if operation["responses"].get(str(status), {}).get("content"):
            # The route itself documents the response with this status.
            continue
        name = _name(HTTPStatus(status), met, operation)
        shared[name] = _response(HTTPStatus(status), met)
        known |= {camel(one.code): {"summary": one.title, "value": one.document} for one in met}
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}


def codes_of(operation: Node, route: APIRoute) -> set[str]:
    """Return the error codes that a caller of this operation can get.

    These are the codes in the route's ``fails_with``, and codes that follow from the route itself:
    its path, parameters, body and required credentials.
    """
    own = set(operation.pop(PROBLEMS, ()))
    by_rule = {*_of_caller(route), *_of_body(operation, route), *_of_headers(operation)}
    if not any(code.endswith("_not_found") for code in own):
        by_rule |= {*_of_path(route)}
    if any(one.field_info.annotation is UUID for one in route.dependant.path_params):
        # If the parameter in the path is not a UUID, it cannot be an id, so the response is 404.
        by_rule.add("not_found")
    if route.path.startswith("/v1/"):
        by_rule |= {"too_many_requests", "credentials_in_address", "unknown_parameter"}
        by_rule |= {"not_acceptable"} if _gives_body(operation) else set()
    if call_maker in calls(route.dependant):
        by_rule |= {"dry_run_changed", "dry_run_expired", "dry_run_token_unknown"}
    if route.path not in {"/healthz", "/metrics"}:
        by_rule |= {"database_unavailable", "service_stopping"}
    return own | by_rule


def _gives_body(operation: Node) -> bool:
    answers = operation["responses"].items()
    return any(answer.get("content") for status, answer in answers if status.startswith("2"))


def _of_caller(route: APIRoute) -> Iterable[str]:
    if not is_open(route):
        yield from (*KNOWN, "session_over")
    if scope_of(route) is not None:
        yield "missing_scope"


def _of_body(operation: Node, route: APIRoute) -> Iterable[str]:
    body = operation.get("requestBody", {}).get("content", {})
    if "application/json" in body:
        yield "malformed_json"
    if body and not route.path.startswith("/webhooks/"):
        yield from ("body_too_large", "unsupported_media_type", "unstorable_text")
    takes_values = known_parameters(route.dependant) or route.dependant.path_params
    if route.body_field is not None or takes_values:
        yield "validation_failed"


def _of_headers(operation: Node) -> Iterable[str]:
    parameters = operation.get("parameters", ())
    names = {one.get("name", one.get("$ref", "").rpartition("/")[2]) for one in parameters}
    if "IfMatch" in names:
        yield "changed_since"
    if "IdempotencyKey" in names:
        yield from ("idempotency_key_reused", "idempotency_key_in_use", "idempotent_answer_lost")
        yield "invalid_idempotency_key"
    if "cursor" in names:
        yield "invalid_cursor"


def _of_path(route: APIRoute) -> Iterable[str]:
    """Yield one error code for each path parameter, such as ``contact_not_found``."""
    collection = _COLLECTION.search(route.path)
    for parameter in _PARAMETER.findall(route.path):
        thing = parameter.removesuffix("_id")
        names = [_THINGS.get(thing, thing)]
        if collection is not None:
            names.append(collection[1].replace("-", "_"))
        yield next(f"{name}_not_found" for name in names if f"{name}_not_found" in kinds())


def _name(status: HTTPStatus, met: list[ProblemKind], operation: Node) -> str:
    """Name a response after its error codes, or after its operation if the name gets too long."""
    phrase = camel(phrase_of(status).lower().replace(" ", "_"))
    name = phrase + "".join(camel(one.code) for one in met if camel(one.code) != phrase)
    return name if len(name) <= _LONGEST_NAME else phrase + camel(operation["operationId"])


def _response(status: HTTPStatus, met: list[ProblemKind]) -> Node:
    said = [f"- `{one.code}`: {one.meaning}" for one in met]
    return {
        "description": "\n".join((f"{phrase_of(status)}.", "", *said)),
        "headers": reference_headers(headers_of(status)),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {
                    one.code: {"$ref": f"#/components/examples/{camel(one.code)}"} for one in met
                },
            }
        },
    }
