"""Names of HTTP statuses that are the same in every version of Python."""

from http import HTTPStatus

_SINCE_PYTHON_3_13 = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "Range Not Satisfiable",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
}
"""Earlier versions of Python have the names from before RFC 9110. Problem codes and names in the
OpenAPI document are made of these names, so they must not depend on the interpreter."""


def phrase_of(status: HTTPStatus) -> str:
    """Return the reason phrase of RFC 9110."""
    return _SINCE_PYTHON_3_13.get(status, status.phrase)
