"""The list of all error codes of the API, with status, title, meaning and an example."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from crm_api import domain
from crm_api.domain.kit.docstrings import first_paragraph
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.kit.phone import InvalidPhoneError
from crm_api.routers.http import problems


@dataclass(frozen=True, kw_only=True)
class ProblemKind:
    """One error code of the API.

    Attributes:
        code: Stable code for programs.
        title: Short text for people; it is the same in every response with this code.
        status: HTTP status of the response.
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


_WITHOUT_CLASS = (
    (400, "malformed_json", "Malformed JSON", "The request body is not valid JSON."),
    (404, "not_found", "Not Found", "Nothing exists at this path."),
    (405, "method_not_allowed", "Method Not Allowed", "The path does not support this method."),
    (
        416,
        "range_not_satisfiable",
        "Range not satisfiable",
        "The file is too short for the requested range of bytes.",
    ),
    (422, "validation_failed", "Invalid input", "The request does not match its schema."),
    (500, "internal_error", "Internal error", "The server failed because of a defect in its code."),
)
"""Errors without a class of their own: status, code, title, meaning."""
_DETAILS = {
    "malformed_json": "The request body is not valid JSON in UTF-8. Correct it and send it as "
    "application/json.",
    "range_not_satisfiable": "The file has only 378 bytes. Request a range that begins before byte "
    "378.",
    "validation_failed": "The request has 1 invalid value(s). The first is at /phone. Correct all "
    "of them as `errors` describes.",
    "internal_error": problems.DEFECT,
}
"""Examples of ``detail`` for errors without a class, by code; the default is their meaning."""
_SHORT = InvalidPhoneError("The number is too short: ten digits are needed.")


def catalogue() -> list[ProblemKind]:
    """Import all domain modules; return all error codes, sorted by status and then by code."""
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
    known: dict[str, ProblemKind] = {}
    for status, code, title, meaning in _WITHOUT_CLASS:
        known[code] = ProblemKind(
            code=code,
            title=title,
            status=status,
            meaning=meaning,
            detail=_DETAILS.get(code, meaning),
            extras=problems.extras_of(_SHORT) if code == "validation_failed" else {},
        )
    errors = {error.code: error for error in _classes(CrmError) if error.code not in known}
    return known | {code: _of_class(error) for code, error in errors.items()}


def _classes(kind: type[CrmError]) -> Iterator[type[CrmError]]:
    """Yield the error classes below ``kind``, each before its subclasses.

    The classes are sorted by module and name. Otherwise the documentation would depend on the order
    of imports if two classes have the same code.
    """
    for error in sorted(kind.__subclasses__(), key=lambda one: (one.__module__, one.__name__)):
        if error not in problems.STATUS_OF_KIND:
            yield error
        yield from _classes(error)


def _of_class(error: type[CrmError]) -> ProblemKind:
    shown = _example(error)
    extras = problems.extras_of(shown)
    extras.pop("retry_after_seconds", None)  # sent as a header
    return ProblemKind(
        code=error.code,
        title=error.title,
        status=problems.status_of(shown),
        meaning=first_paragraph(error.__doc__),
        detail=shown.detail,
        extras=extras,
    )


def _example(error: type[CrmError]) -> CrmError:
    """Return the example of an error class; if it has none, its docstring is used as ``detail``."""
    example = vars(error).get("example")
    if example is not None:
        return error(*example.args, **example.kwargs)
    needed = [
        name
        for name, one in inspect.signature(error).parameters.items()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    ]
    return error(*[first_paragraph(error.__doc__)] * len(needed))
