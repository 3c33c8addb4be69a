"""The problems that a caller may meet."""

from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute

from crm_api.routers.openapi.headers import headers_of, reference_headers
from crm_api.routers.openapi.security import is_open
from crm_api.routers.openapi.walking import Node
from crm_api.routers.problems import MEDIA_TYPE

_PROBLEMS: dict[HTTPStatus, tuple[str, str, str]] = {
    HTTPStatus.BAD_REQUEST: (
        "malformed_json",
        "Malformed JSON",
        "The body is not valid JSON in UTF-8; send it as application/json.",
    ),
    HTTPStatus.UNAUTHORIZED: (
        "missing_credentials",
        "API key needed",
        "Send an API key or an access token as `Authorization: Bearer <it>`.",
    ),
    HTTPStatus.FORBIDDEN: ("missing_scope", "Scope missing", "This needs the scope operations."),
    HTTPStatus.NOT_FOUND: ("contact_not_found", "Contact not found", "No contact has this id."),
    HTTPStatus.NOT_ACCEPTABLE: (
        "not_acceptable",
        "Not acceptable",
        "The answer is application/json; name it in Accept, or leave that out.",
    ),
    HTTPStatus.CONFLICT: (
        "contact_exists",
        "Contact already exists",
        "A contact with this number exists.",
    ),
    HTTPStatus.PRECONDITION_FAILED: (
        "changed_since",
        "Changed since it was read",
        "It has changed since this ETag was given; read it again, then repeat the change.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "body_too_large",
        "Body too large",
        "The body has 2000000 bytes; 1048576 are taken. Send it in parts.",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "unsupported_media_type",
        "Unsupported media type",
        "text/plain is not read here; send it as application/json.",
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "validation_failed",
        "Invalid input",
        "1 fault(s); the first at /phone.",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "too_many_requests",
        "Too many requests",
        "More than 100 requests came within 1 s. Wait so long, and send fewer.",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "database_unavailable",
        "Temporarily unavailable",
        "The database cannot be used right now; try again in a few seconds.",
    ),
}
"""For each status an example: code, title, detail."""

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "A failure (RFC 9457). `code` is stable, for programs; `detail` is a sentence "
    "that says what to do. Some problems have further members, such as `contact_id`.",
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
}
FIELD_PROBLEM: dict[str, Any] = {
    "title": "FieldProblem",
    "description": "One fault in the input: a JSON pointer to it, a stable code, a sentence.",
    "type": "object",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "pointer": {"type": "string"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}


SCHEMAS: Node = {"Problem": PROBLEM, "FieldProblem": FIELD_PROBLEM}


def responses() -> Node:
    """Return the answers that operations refer to."""
    return {_name(status): _response(status) for status in _PROBLEMS}


def complete(operation: Node, route: APIRoute, method: str) -> None:
    """Add to an operation the problems that its caller may meet.

    Those by rule; what only a route knows it declares itself: ``responses={404: {}}``.
    """
    responses = operation["responses"]
    responses.pop("422", None)
    declared = {status: one for status, one in responses.items() if status >= "400"}
    for status in (*(HTTPStatus(int(one)) for one in declared), *_met(operation, route, method)):
        if not declared.get(str(int(status)), {}).get("content"):
            responses[str(int(status))] = {"$ref": f"#/components/responses/{_name(status)}"}


def _met(operation: dict[str, Any], route: APIRoute, method: str) -> list[HTTPStatus]:
    """Return the statuses of the problems that a caller of this route may meet."""
    has_body = "requestBody" in operation
    method = method.upper()
    is_changing = method != "GET"
    names = {parameter.get("name") for parameter in operation.get("parameters", ())}
    rules = {
        HTTPStatus.BAD_REQUEST: has_body or "cursor" in names,
        HTTPStatus.UNAUTHORIZED: not is_open(route) or "auth" in route.path,
        HTTPStatus.FORBIDDEN: not is_open(route) or "auth" in route.path,
        HTTPStatus.NOT_FOUND: "{" in route.path,
        HTTPStatus.NOT_ACCEPTABLE: route.path.startswith("/v1/") and _gives_body(operation),
        HTTPStatus.CONFLICT: is_changing and route.path.startswith("/v1/"),
        HTTPStatus.PRECONDITION_FAILED: method in {"PATCH", "DELETE"},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: has_body,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: has_body and route.path.startswith("/v1/"),
        HTTPStatus.UNPROCESSABLE_ENTITY: bool(names) or has_body,
        HTTPStatus.TOO_MANY_REQUESTS: route.path.startswith("/v1/"),
        HTTPStatus.SERVICE_UNAVAILABLE: route.path != "/healthz",
    }
    return [status for status, may_be in rules.items() if may_be]


def _gives_body(operation: Node) -> bool:
    answers = operation["responses"].items()
    return any(answer.get("content") for status, answer in answers if status.startswith("2"))


def _name(status: HTTPStatus) -> str:
    return "".join(word.capitalize() for word in status.phrase.replace("-", " ").split())


def _response(status: HTTPStatus) -> dict[str, Any]:
    code, title, detail = _PROBLEMS[status]
    example: dict[str, Any] = {
        "type": f"urn:crm-api:problem:{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": "/v1/contacts",
        "code": code,
    }
    if status is HTTPStatus.UNPROCESSABLE_ENTITY:
        fault = {"pointer": "/phone", "code": "invalid_phone", "detail": "This is no phone number."}
        example["errors"] = [fault]
    answer = {
        "description": f"{status.phrase}: {title.lower()}, for example.",
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
        },
    }
    answer["headers"] = reference_headers(headers_of(status))
    return answer
