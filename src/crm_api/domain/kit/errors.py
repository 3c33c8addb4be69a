"""The kinds of errors that use cases raise. ``routers/http`` gives each kind an HTTP status.

The process that reads the file of an import loads this module, and starts faster without pydantic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class Example:
    """Arguments for the constructor of an error class, to show an example in the documentation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - of any constructor
        self.args = args
        self.kwargs = kwargs


class CrmError(Exception):
    """An error that a use case raises, and that the API returns as a problem document.

    Attributes:
        code: Identifies the error for programs; it never changes.
        title: A heading for people, the same for every occurrence.
        is_abstract: True if only subclasses are raised. The documentation then leaves the class
            out. Subclasses do not inherit it.
        example: The constructor's arguments in the documentation. Required if the constructor needs
            arguments. Subclasses do not inherit it.
        detail: What happened and what to do next. It has no secrets, and no data of people other
            than the caller.
        extras: Further fields of the problem document.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    is_abstract: ClassVar[bool] = False
    example: ClassVar[Example | None] = None
    detail: str = ""

    def __init__(self, detail: str | None = None, **extras: Any) -> None:  # noqa: ANN401 - JSON members
        self.detail = detail or self.detail
        if not self.detail:
            raise TypeError("This class of errors has no `detail`, so the constructor needs one.")
        super().__init__(self.detail)
        self.extras = extras


class NotFoundError(CrmError):
    """The resource that the request names does not exist."""

    code = "not_found"
    title = "Not found"


class ConflictError(CrmError):
    """The request is valid, but the present state of the data does not allow it."""

    code = "conflict"
    title = "Conflict"


class GoneError(CrmError):
    """The resource existed, and was removed permanently."""

    code = "gone"
    title = "Gone"


class PreconditionFailedError(CrmError):
    """The resource has changed: it is no longer in the state that the request expects."""

    code = "precondition_failed"
    title = "Precondition failed"


@dataclass(frozen=True, kw_only=True)
class FieldProblem:
    """One error in the input: its JSON pointer, a code for programs, and a sentence for people."""

    pointer: str
    code: str
    detail: str


class MalformedError(CrmError):
    """The request body cannot be parsed."""

    code = "malformed"
    title = "Malformed request"


class TooLargeError(CrmError):
    """The body is larger than this route accepts."""

    code = "too_large"
    title = "Request too large"


class UnreadableKindError(CrmError):
    """The body has a media type that this route does not accept."""

    code = "unreadable_kind"
    title = "Unsupported media type"


class UnacceptableError(CrmError):
    """This route offers no media type that the caller accepts."""

    code = "unacceptable"
    title = "No acceptable media type"


class InvalidError(CrmError):
    """The input is not valid; ``errors`` lists each error in it with a JSON pointer.

    Attributes:
        pointer: JSON pointer of the wrong field. It is used if the constructor gets no ``errors``.
    """

    code = "invalid"
    title = "Invalid input"
    pointer: ClassVar[str] = ""

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: list[FieldProblem] | None = None,
        **extras: Any,  # noqa: ANN401 - JSON members
    ) -> None:
        super().__init__(detail, **extras)
        if errors is None and self.pointer:
            errors = [FieldProblem(pointer=self.pointer, code=self.code, detail=self.detail)]
        self.errors = errors or []


class UnauthenticatedError(CrmError):
    """The request has no credentials, or unknown credentials."""

    code = "unauthenticated"
    title = "Not authenticated"


class ForbiddenError(CrmError):
    """The caller is known, but is not allowed to do what the request asks for."""

    code = "forbidden"
    title = "Forbidden"


class RateLimitedError(CrmError):
    """The caller sent too many requests; ``retry_after_seconds`` is the time to wait."""

    code = "rate_limited"
    title = "Too many requests"


class TransientError(CrmError):
    """A system that this service depends on is not available; a later request may succeed."""

    code = "unavailable"
    title = "Temporarily unavailable"


def pointer_to(path: Sequence[int | str]) -> str:
    """Return the JSON pointer for a path of field names and list positions."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
