"""Describe in the OpenAPI document the headers that middlewares read and write.

Routes do not declare these headers.
"""

from http import HTTPStatus

from crm_api.routers.http.openapi.naming import Node, nodes
from crm_api.routers.http.preconditions import conditional_resource


def _component(header: str) -> str:
    """Return the name of a header in the document, such as XRequestId for ``X-Request-ID``."""
    return header.replace("-", "").replace("ID", "Id")


def header_parameter(
    name: str, description: str, example: str, *, required: bool = False, **schema: str | int
) -> Node:
    """Return the OpenAPI parameter that describes a request header."""
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
        "example": example,
    }


def _header(description: str, example: str, **schema: str) -> Node:
    return {"description": description, "schema": {"type": "string", **schema}, "example": example}


_TAG = '"5f2c8b1e0d7a4c3996b1a8e2d4f60713"'
PARAMETERS: Node = {
    "IdempotencyKey": header_parameter(
        "Idempotency-Key",
        "A string that you choose for this request, such as a UUID. If you send the same request "
        "with the same key again within a day, you get the stored response, and the operation "
        "does not run a second time.",
        "4f1c6f0e-2f6a-4d0e-9a57-3a1f7d3b8f10",
        minLength=1,
        maxLength=255,
        pattern="^[!-~]+$",
    ),
    "IfMatch": header_parameter(
        "If-Match",
        "The ETag of the version that you read. If the resource has changed since then, the "
        "response is 412 and nothing is changed.",
        _TAG,
    ),
    "IfNoneMatch": header_parameter(
        "If-None-Match",
        "The ETag of the version that you have. If it is still current, the response is 304 "
        "without a body.",
        _TAG,
    ),
}
HEADERS: Node = {
    "Deprecation": _header("When the operation was deprecated (RFC 9745).", "@1798761600"),
    "Sunset": _header(
        "The earliest time at which the operation may be removed (RFC 8594).",
        "Thu, 01 Jul 2027 00:00:00 GMT",
    ),
    "Link": _header(
        "The path of the operation that replaces this operation (`successor-version`), and the "
        "address of the API reference (`deprecation`).",
        '</v1/contacts>; rel="successor-version"',
    ),
    "X-Request-ID": _header(
        "The id of the request, which the service also logs. If the request has this header with "
        "1 to 64 letters, digits, `.`, `_` or `-`, the service uses that value as the id.",
        "0b9f6c1f7a5d4c6f8e2d1c3b4a596877",
    ),
    "ETag": _header(
        "Identifies this version of the resource. Send it in `If-None-Match` or `If-Match`.", _TAG
    ),
    "RateLimit": _header(
        "The number of requests that you may still send in the current time window (`r`), and the "
        "length of the window in seconds (`t`).",
        '"caller";r=99;t=1',
    ),
    "RateLimit-Policy": _header(
        "The rate limit: the number of requests (`q`) that you may send in a time window of `w` "
        "seconds.",
        '"caller";q=100;w=1',
    ),
    "Idempotent-Replayed": _header(
        "`true` if this is the stored response to an earlier request with the same "
        "`Idempotency-Key`.",
        "true",
        const="true",
    ),
    "Retry-After": {
        "description": "Seconds to wait before you send the request again.",
        "schema": {"type": "integer"},
        "example": 1,
    },
    "WWW-Authenticate": _header("The authentication scheme to use.", "Bearer"),
    "Content-Disposition": _header(
        "The name of the file in which a browser saves the response.",
        'attachment; filename="contacts.csv"',
    ),
}
_OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}
_LIMITED = "/v1/"
_SIGN_IN = "/v1/auth/"


def complete_headers(path: str, method: str, operation: Node, *, is_read: bool) -> None:
    """Add the request headers and response headers to an operation, in place.

    Args:
        path: The path of the route.
        method: The HTTP method in lower case.
        operation: The operation to complete.
        is_read: True if the path has a GET operation. Then the resource at the path has an ETag.
    """
    sent = _sent(path, method, operation, is_read=is_read)
    is_conditional_post = method == "post" and conditional_resource("POST", path) is not None
    for name in (sent, "IfMatch" if is_conditional_post else None):
        if name is not None:
            reference = {"$ref": f"#/components/parameters/{name}"}
            operation.setdefault("parameters", []).append(reference)
    if sent == "IfNoneMatch":
        operation["responses"]["304"] = {
            "description": "The version in `If-None-Match` is still current."
        }
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
    """Return the descriptions of all headers that at least one response refers to."""
    used = {node["$ref"].rpartition("/")[2] for node in nodes(document) if _is_header(node)}
    known = {_component(name): header for name, header in HEADERS.items()}
    return {name: header for name, header in known.items() if name in used}


def _is_header(node: Node) -> bool:
    return str(node.get("$ref", "")).startswith("#/components/headers/")


def headers_of(status: HTTPStatus) -> list[str]:
    """Return the names of the headers that every response with this status has."""
    own = [_OF_STATUS[status]] if status in _OF_STATUS else []
    return ["X-Request-ID", *own]


def reference_headers(names: list[str]) -> Node:
    """Return the ``headers`` object of a response: references to the shared descriptions."""
    return {name: {"$ref": f"#/components/headers/{_component(name)}"} for name in names}


def _sent(path: str, method: str, operation: Node, *, is_read: bool) -> str | None:
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
