"""Add to each operation of the OpenAPI document the error responses that it can return."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field
from pydantic.json_schema import models_json_schema

from crm_api.domain.kit.schemas import DocumentedModel
from crm_api.routers.http.document_walk import Node, camel
from crm_api.routers.http.dry_run_calls import call_maker
from crm_api.routers.http.openapi.catalogue import ProblemKind, kinds
from crm_api.routers.http.openapi.headers import headers_of, reference_headers
from crm_api.routers.http.openapi.naming import PREFIX
from crm_api.routers.http.openapi.security import calls, is_open, scope_of
from crm_api.routers.http.problems import MEDIA_TYPE, phrase_of
from crm_api.routers.http.query_parameters import known_parameters
from crm_api.routers.http.route_notes import PROBLEMS


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
    """An error response (RFC 9457).

    Programs should use ``code``, which is stable. ``detail`` says what happened and what to do
    next. Some errors have further fields, such as ``contact_id``.

    Attributes:
        type: A URN that ends with the value of ``code``.
        title: A short text for people; it is always the same for one code.
        status: The status of the HTTP response.
        detail: What happened and what to do next, as text for people.
        instance: The path of the request.
        code: The stable code of the error, for programs.
        errors: All invalid values in the request; empty for other errors.
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
"""What a path parameter identifies, if the error code ``…_not_found`` uses another word."""


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
            continue  # the route itself documents the response with this status
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
        by_rule.add("not_found")  # a string that is not a UUID cannot be an id
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
    """Yield a code that ends in ``_not_found`` for each path parameter."""
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
