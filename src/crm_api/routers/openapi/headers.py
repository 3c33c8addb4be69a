"""Headers that the middleware reads and writes, which no route knows of."""

from http import HTTPStatus

from crm_api.routers.openapi.walking import Node, nodes

PARAMETERS: Node = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Any text of your own, such as a UUID. The same key and request again gets "
        "the same answer for a day, and nothing happens twice.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "example": "4f1c6f0e-2f6a-4d0e-9a57-3a1f7d3b8f10",
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what was seen: 412 when it has changed since.",
        "schema": {"type": "string"},
        "example": '"5f2c8b1e0d7a4c3996b1a8e2d4f60713"',
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what is known: 304 when it is still so.",
        "schema": {"type": "string"},
        "example": '"5f2c8b1e0d7a4c3996b1a8e2d4f60713"',
    },
}
HEADERS: Node = {
    "Deprecation": {
        "description": "Since when the operation is deprecated (RFC 9745).",
        "schema": {"type": "string"},
        "example": "@1798761600",
    },
    "Sunset": {
        "description": "From when on the operation may be gone (RFC 8594).",
        "schema": {"type": "string"},
        "example": "Thu, 01 Jul 2027 00:00:00 GMT",
    },
    "Link": {
        "description": "What to use instead, and where that is explained.",
        "schema": {"type": "string"},
        "example": '</v1/contacts>; rel="successor-version"',
    },
    "XRequestId": {
        "description": "The request's id, as the log has it. An id of the caller's own, in a "
        "header of the same name, is kept when it has at most 64 letters, digits, `.`, `_`, `-`.",
        "schema": {"type": "string"},
        "example": "0b9f6c1f7a5d4c6f8e2d1c3b4a596877",
    },
    "ETag": {
        "description": "Names what was answered, for `If-None-Match` and `If-Match`.",
        "schema": {"type": "string"},
        "example": '"5f2c8b1e0d7a4c3996b1a8e2d4f60713"',
    },
    "RateLimit": {
        "description": "What is left: requests (`r`), and seconds until it is the quota again "
        "(`t`).",
        "schema": {"type": "string"},
        "example": '"default";r=99;t=1',
    },
    "RateLimitPolicy": {
        "description": "The quota: requests (`q`) in a window of seconds (`w`).",
        "schema": {"type": "string"},
        "example": '"default";q=100;w=1',
    },
    "IdempotentReplayed": {
        "description": "`true` when this is the answer that the same `Idempotency-Key` got before.",
        "schema": {"type": "string", "const": "true"},
        "example": "true",
    },
    "RetryAfter": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer"},
        "example": 1,
    },
    "WWWAuthenticate": {
        "description": "How to say who calls.",
        "schema": {"type": "string"},
        "example": "Bearer",
    },
    "ContentDisposition": {
        "description": "The name under which a browser keeps it.",
        "schema": {"type": "string"},
        "example": 'attachment; filename="contacts.csv"',
    },
}
_NAMES = {
    "Deprecation": "Deprecation",
    "Sunset": "Sunset",
    "Link": "Link",
    "X-Request-ID": "XRequestId",
    "ETag": "ETag",
    "RateLimit": "RateLimit",
    "RateLimit-Policy": "RateLimitPolicy",
    "Idempotent-Replayed": "IdempotentReplayed",
    "Retry-After": "RetryAfter",
    "WWW-Authenticate": "WWWAuthenticate",
    "Content-Disposition": "ContentDisposition",
}
_OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}
_LIMITED = "/v1/"
_SIGN_IN = "/v1/auth/"


def complete_headers(path: str, method: str, operation: Node, *, is_read: bool) -> None:
    """Add the headers that are sent with a request, and with each of its answers.

    Args:
        path: Of the route.
        method: In small letters.
        operation: Is changed.
        is_read: Whether the path also takes GET, so that what it names has an ETag.
    """
    sent = _parameter(path, method, operation, is_read=is_read)
    if sent is not None:
        reference = {"$ref": f"#/components/parameters/{sent}"}
        operation.setdefault("parameters", []).append(reference)
    if sent == "IfNoneMatch":
        operation["responses"]["304"] = {"description": "It is still as the ETag says."}
    for code, answer in operation["responses"].items():
        status = HTTPStatus(int(code))
        names = headers_of(status)
        if operation.get("deprecated"):
            names += ["Deprecation", "Sunset", "Link"]
        if path.startswith(_LIMITED):
            names += ["RateLimit", "RateLimit-Policy"]
        if sent == "IdempotencyKey" and code.startswith("2"):
            names.append("Idempotent-Replayed")
        if _has_tag(status, sent, operation, method):
            names.append("ETag")
        if "text/csv" in answer.get("content", {}):
            names.append("Content-Disposition")
        answer.setdefault("headers", {}).update(reference_headers(names))


def used_headers(document: Node) -> Node:
    """Return the headers that some answer refers to."""
    used = {node["$ref"].rpartition("/")[2] for node in nodes(document) if _is_header(node)}
    return {name: header for name, header in HEADERS.items() if name in used}


def _is_header(node: Node) -> bool:
    return str(node.get("$ref", "")).startswith("#/components/headers/")


def headers_of(status: HTTPStatus) -> list[str]:
    """Return the names of the headers of any answer with a status."""
    own = [_OF_STATUS[status]] if status in _OF_STATUS else []
    return ["X-Request-ID", *own]


def reference_headers(names: list[str]) -> Node:
    """Return the headers of an answer."""
    return {name: {"$ref": f"#/components/headers/{_NAMES[name]}"} for name in names}


def _parameter(path: str, method: str, operation: Node, *, is_read: bool) -> str | None:
    if not path.startswith(_LIMITED) or path.startswith(_SIGN_IN):
        return None
    if method == "post":
        return "IdempotencyKey"
    if method == "get":
        return "IfNoneMatch" if "application/json" in _content(operation) else None
    return "IfMatch" if is_read else None


def _has_tag(status: HTTPStatus, sent: str | None, operation: Node, method: str) -> bool:
    if status is HTTPStatus.NOT_MODIFIED:
        return True
    if status is not HTTPStatus.OK or "application/json" not in _content(operation):
        return False
    return sent == "IfNoneMatch" or (sent == "IfMatch" and method == "patch")


def _content(operation: Node) -> Node:
    content: Node = operation["responses"].get("200", {}).get("content", {})
    return content
