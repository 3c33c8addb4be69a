"""The OpenAPI document: what FastAPI reads from the routes, and what it cannot know.

Added here, by rule and not by hand, so that a new route has it too: who may call (security with
scopes), every problem that a caller may meet, the headers of repeatable requests, what the tags
mean.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from crm_api.domain.access.models import Scope
from crm_api.routers.deps import Needs, authenticate
from crm_api.routers.problems import MEDIA_TYPE

TAGS = {
    "contacts": "People, found by their number; flags, opt-outs and the timeline of each.",
    "imports": "Lists of people from files and from the provider: tried, committed, undone.",
    "lists": "Named lists of contacts.",
    "segments": "Rules that say who belongs, asked anew each time.",
    "custom fields": "Attributes of contacts with a type.",
    "properties": "Addresses with what is known of the building, and their people.",
    "notes": "What colleagues write down about a person.",
    "merging": "Contacts that are the same person, put together and taken apart.",
    "consent": "Who may be texted, since when, and the proof of it.",
    "phone validation": "What kind of line a number is.",
    "lines": "The own numbers that send, and how much each may.",
    "campaigns": "One text to many, sent by itself within its hours and limits.",
    "tags": "Tags over all contacts: counted, changed for many at once, renamed.",
    "templates": "Saved wordings.",
    "conversations": "Messages and calls with one person over one line.",
    "media": "Pictures and recordings.",
    "webhooks": "What the provider delivers, and what became of it.",
    "events": "What happens, live, from where a reader was.",
    "operations": "Runs, checks, jobs and alerts.",
    "compliance": "The legal hours and limits, each with its source.",
    "access": "API keys.",
    "auth": "Signing in and out.",
    "users": "People who sign in.",
    "sandbox": "For developers: time, people and faults of the sandbox; not with a real API key.",
    "health": "Whether the service lives, and what of it.",
}

BEARER, OAUTH = "bearer", "oauth2"
SCOPES = {
    Scope.CONTACTS_READ: "Read contacts, lists, segments and imports.",
    Scope.CONTACTS_WRITE: "Change contacts, lists, segments; import.",
    Scope.CAMPAIGNS_READ: "Read campaigns, lines and templates.",
    Scope.CAMPAIGNS_WRITE: "Write campaigns and templates.",
    Scope.CAMPAIGNS_SEND: "Start, pause, resume and cancel campaigns.",
    Scope.MESSAGES_READ: "Read conversations, messages and calls.",
    Scope.MESSAGES_SEND: "Send single messages.",
    Scope.WEBHOOKS_READ: "Read received events and endpoints.",
    Scope.WEBHOOKS_WRITE: "Replay events, change endpoints.",
    Scope.OPERATIONS: "Alerts, runs, checks and jobs.",
    Scope.ADMIN: "Everything, with keys and users.",
}

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
_HEADERS: dict[str, Any] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Any text of your own, such as a UUID. The same key and request again gets "
        "the same answer for a day, and nothing happens twice.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what was seen: 412 when it has changed since.",
        "schema": {"type": "string"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what is known: 304 when it is still so.",
        "schema": {"type": "string"},
    },
}
_REPEATED_BY = {"POST": "IdempotencyKey", "PATCH": "IfMatch", "DELETE": "IfMatch"}


def enrich(document: dict[str, Any], routes: Iterable[APIRoute]) -> dict[str, Any]:
    """Add to FastAPI's document what it cannot know; the same document comes back."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas |= {"Problem": PROBLEM, "FieldProblem": FIELD_PROBLEM}
    components["parameters"] = _HEADERS
    components["responses"] = {_name(status): _response(status) for status in _PROBLEMS} | {
        "NotModified": {"description": "It is still as the ETag says."}
    }
    components["securitySchemes"] = _security_schemes()
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _name_body(operation, schemas)
                _complete(operation, route, method)
    return document


def _name_body(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Put a body that a route describes itself among the named schemas, under its title."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        if schema.get("type") == "object" and "title" in schema:
            schemas[schema["title"]] = schema
            content["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}


def scope_of(route: APIRoute) -> Scope | None:
    """Return the scope that a route asks for; None when it asks for none."""
    return next((call.scope for call in _calls(route.dependant) if isinstance(call, Needs)), None)


def is_open(route: APIRoute) -> bool:
    """Say whether a route asks nobody who they are."""
    return not any(call is authenticate for call in _calls(route.dependant))


def _calls(dependant: Dependant) -> Iterable[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    scope = scope_of(route)
    if not is_open(route):
        named = [scope.value] if scope is not None else []
        operation["security"] = [{BEARER: named}, {OAUTH: named}]
    else:
        operation["security"] = []
    header = _header(route, method)
    if header is not None:
        reference = {"$ref": f"#/components/parameters/{header}"}
        operation.setdefault("parameters", []).append(reference)
    responses = operation["responses"]
    responses.pop("422", None)
    for status in _met(operation, route, method):
        reference = {"$ref": f"#/components/responses/{_name(status)}"}
        responses.setdefault(str(int(status)), reference)
    if header == "IfNoneMatch":
        responses["304"] = {"$ref": "#/components/responses/NotModified"}


def _header(route: APIRoute, method: str) -> str | None:
    if not route.path.startswith("/v1/") or route.path.startswith("/v1/auth/"):
        return None
    return "IfNoneMatch" if method == "GET" else _REPEATED_BY.get(method)


def _met(operation: dict[str, Any], route: APIRoute, method: str) -> list[HTTPStatus]:
    """Return the statuses of the problems that a caller of this route may meet."""
    has_body = "requestBody" in operation
    is_changing = method != "GET"
    names = {parameter.get("name") for parameter in operation.get("parameters", ())}
    rules = {
        HTTPStatus.BAD_REQUEST: has_body or "cursor" in names,
        HTTPStatus.UNAUTHORIZED: not is_open(route) or "auth" in route.path,
        HTTPStatus.FORBIDDEN: not is_open(route) or "auth" in route.path,
        HTTPStatus.NOT_FOUND: "{" in route.path,
        HTTPStatus.CONFLICT: is_changing and route.path.startswith("/v1/"),
        HTTPStatus.PRECONDITION_FAILED: method in {"PATCH", "DELETE"},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: has_body,
        HTTPStatus.UNPROCESSABLE_ENTITY: bool(names) or has_body,
        HTTPStatus.TOO_MANY_REQUESTS: route.path.startswith("/v1/"),
        HTTPStatus.SERVICE_UNAVAILABLE: route.path != "/healthz",
    }
    return [status for status, may_be in rules.items() if may_be]


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
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return answer


def _security_schemes() -> dict[str, Any]:
    return {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`crm_…`) or an access token (`crms_…`). Scopes: "
            + " ".join(f"`{scope}` {text}" for scope, text in SCOPES.items()),
        },
        OAUTH: {
            "type": "oauth2",
            "description": "Users sign in with e-mail address and password.",
            "flows": {
                "password": {
                    "tokenUrl": "/v1/auth/token",
                    "refreshUrl": "/v1/auth/refresh",
                    "scopes": {scope.value: text for scope, text in SCOPES.items()},
                }
            },
        },
    }
