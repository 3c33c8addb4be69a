"""Reason phrases of HTTP statuses that do not depend on the version of Python."""

from http import HTTPStatus

_SINCE_PYTHON_3_13 = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "Range Not Satisfiable",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
}
"""The phrases of RFC 9110. Python before 3.13 has older ones. Error codes and names in the OpenAPI
document contain these phrases, so they must not depend on the version of Python."""


def phrase_of(status: HTTPStatus) -> str:
    """Return the reason phrase of a status as in RFC 9110, such as ``Not Found``."""
    return _SINCE_PYTHON_3_13.get(status, status.phrase)
