"""What a status is called, alike under every version of Python."""

from http import HTTPStatus

_SINCE_PYTHON_3_13 = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "Range Not Satisfiable",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
}
"""Earlier ones have the words from before RFC 9110. Codes of problems and names in the OpenAPI
document are made of these, and must not change with the interpreter."""


def phrase_of(status: HTTPStatus) -> str:
    """Return the words of RFC 9110."""
    return _SINCE_PYTHON_3_13.get(status, status.phrase)
