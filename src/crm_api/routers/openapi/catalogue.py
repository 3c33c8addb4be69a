"""Every problem that there is: from the error classes, and the few that are none."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any

from crm_api import domain
from crm_api.domain.errors import CrmError, InvalidError
from crm_api.routers.openapi.members import EXTRAS, POINTERS
from crm_api.routers.openapi.sayings import SAID
from crm_api.routers.openapi.wording import markdown
from crm_api.routers.problems import STATUS_OF_KIND


@dataclass(frozen=True, kw_only=True)
class ProblemKind:
    """One code.

    Attributes:
        meaning: What is the matter, whenever it occurs.
        detail: What one occurrence says; it says what to do.
        extras: Further members of that occurrence's document.
    """

    code: str
    title: str
    status: int
    meaning: str
    detail: str
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The document of one occurrence (RFC 9457)."""
        return {
            "type": f"urn:crm-api:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": "/v1/…",
            "code": self.code,
            **self.extras,
        }


NO_CLASSES = (
    ("malformed_json", "Malformed JSON", 400, "The body is no JSON."),
    ("not_found", "Not Found", 404, "The path names nothing that there is."),
    ("method_not_allowed", "Method Not Allowed", 405, "The path does not take this method."),
    ("range_not_satisfiable", "Range not satisfiable", 416, "The file has no such part."),
    ("validation_failed", "Invalid input", 422, "The request does not fit its schema."),
    ("unstorable_text", "Text cannot be stored", 422, "A text has a character that none may have."),
    ("internal_error", "Internal error", 500, "Something went wrong here."),
    ("database_unavailable", "Temporarily unavailable", 503, "The database cannot be used now."),
)
"""Problems that ``routers/problems`` finds itself: code, title, status, meaning."""


def catalogue() -> list[ProblemKind]:
    """Return every problem, by status and code; also those that only workers meet."""
    for module in pkgutil.walk_packages(domain.__path__, "crm_api.domain."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    found = [_of_class(error) for error in _classes(CrmError)] + _without_class()
    return sorted({one.code: one for one in found}.values(), key=lambda one: (one.status, one.code))


@cache
def kinds() -> dict[str, ProblemKind]:
    """Return the problems of all that the API is made of, by code."""
    return {one.code: one for one in [_of_class(each) for each in _classes(CrmError)]} | {
        one.code: one for one in _without_class()
    }


def _classes(kind: type[CrmError]) -> Iterator[type[CrmError]]:
    """Yield the classes that have a code of their own, each before those under it."""
    for error in kind.__subclasses__():
        if error not in STATUS_OF_KIND:
            yield error
        yield from _classes(error)


def _of_class(error: type[CrmError]) -> ProblemKind:
    status = next(status for kind, status in STATUS_OF_KIND.items() if issubclass(error, kind))
    meaning = markdown(error.__doc__ or "")
    return _kind(
        error.code, error.title, status, meaning, is_invalid=issubclass(error, InvalidError)
    )


def _without_class() -> list[ProblemKind]:
    return [_kind(*one, is_invalid=one[2] == HTTPStatus.UNPROCESSABLE_ENTITY) for one in NO_CLASSES]


def _kind(code: str, title: str, status: int, meaning: str, *, is_invalid: bool) -> ProblemKind:
    detail = SAID.get(code, meaning)
    extras = EXTRAS.get(code, {})
    if is_invalid and "errors" not in extras:
        fault = {"pointer": POINTERS.get(code, ""), "code": code, "detail": detail}
        extras = {"errors": [fault] if fault["pointer"] else []} | extras
    return ProblemKind(
        code=code, title=title, status=status, meaning=meaning, detail=detail, extras=extras
    )
