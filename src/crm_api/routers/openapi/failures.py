"""The problems of each operation in the document."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from uuid import UUID

from fastapi.routing import APIRoute

from crm_api.routers.openapi.catalogue import ProblemKind, kinds
from crm_api.routers.openapi.declared import OWN
from crm_api.routers.openapi.headers import headers_of, reference_headers
from crm_api.routers.openapi.security import is_open, scope_of
from crm_api.routers.openapi.walking import Node, camel
from crm_api.routers.phrases import phrase_of
from crm_api.routers.problems import MEDIA_TYPE

SCHEMAS: Node = {
    "Problem": {
        "title": "Problem",
        "description": "A failure (RFC 9457). `code` is stable, for programs; `detail` is a "
        "sentence that says what to do. Some problems have further members, such as `contact_id`.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "code": {"type": "string"},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
        },
        "additionalProperties": True,
    },
    "FieldProblem": {
        "title": "FieldProblem",
        "description": "One fault in the input: a JSON pointer to it, a stable code, a sentence.",
        "type": "object",
        "required": ["pointer", "code", "detail"],
        "properties": {
            "pointer": {"type": "string"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
        },
    },
}
KNOWN = ("missing_credentials", "invalid_credentials", "api_key_expired", "api_key_revoked")
"""Why a key or token is not accepted; ``session_over`` too."""
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
"""What a parameter of a path names, where its problem says it otherwise."""


def complete(document: Node, operation: Node, route: APIRoute) -> None:
    """Add to an operation the problems that its caller may meet, by status."""
    operation["responses"].pop("422", None)
    shared: Node = document["components"].setdefault("responses", {})
    known: Node = document["components"].setdefault("examples", {})
    by_status: dict[int, list[ProblemKind]] = {}
    for code in sorted(codes_of(operation, route)):
        kind = kinds()[code]
        by_status.setdefault(kind.status, []).append(kind)
    for status, met in sorted(by_status.items()):
        if operation["responses"].get(str(status), {}).get("content"):
            continue  # the route says itself what it answers
        name = _name(HTTPStatus(status), met, operation)
        shared[name] = _response(HTTPStatus(status), met)
        known |= {camel(one.code): {"summary": one.title, "value": one.document} for one in met}
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}


def codes_of(operation: Node, route: APIRoute) -> set[str]:
    """Return the codes of the problems that a caller of this operation may meet."""
    own = set(OWN.get(route.name, "").split())
    by_rule = {*_of_caller(route), *_of_body(operation, route), *_of_headers(operation)}
    if not any(code.endswith("_not_found") for code in own):
        by_rule |= {*_of_path(route)}
    if any(one.field_info.annotation is UUID for one in route.dependant.path_params):
        by_rule.add("not_found")  # what has another shape is no id
    if route.path.startswith("/v1/"):
        by_rule |= {"too_many_requests", "credentials_in_address"}
        by_rule |= {"not_acceptable"} if _gives_body(operation) else set()
    if route.path not in {"/healthz", "/metrics"}:
        by_rule.add("database_unavailable")
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
    if route.body_field is not None or route.dependant.query_params or route.dependant.path_params:
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
    """Yield what may not be there, of all that the path names."""
    collection = _COLLECTION.search(route.path)
    for parameter in _PARAMETER.findall(route.path):
        thing = parameter.removesuffix("_id")
        names = [_THINGS.get(thing, thing)]
        if collection is not None:
            names.append(collection[1].replace("-", "_"))
        yield next(f"{name}_not_found" for name in names if f"{name}_not_found" in kinds())


def _name(status: HTTPStatus, met: list[ProblemKind], operation: Node) -> str:
    """Name an answer after its problems, or after its operation where they are many."""
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
