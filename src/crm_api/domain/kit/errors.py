"""The kinds of failure that the business expects; one table maps each kind to an HTTP status."""

from dataclasses import dataclass
from typing import Any, ClassVar


class Example:
    """The arguments of an error's constructor that make its example in the documentation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - of any constructor
        self.args = args
        self.kwargs = kwargs


class CrmError(Exception):
    """A failure the business expects.

    Attributes:
        code: Stable, for programs.
        title: The same for every occurrence, for people.
        example: An occurrence to show in the documentation. None if the constructor needs no
            arguments, or if the docstring is the example of ``detail``.
        detail: What happened this time and what to do next; no secret, no other person's data.
        extras: Members added to the problem document, for example ``contact_id``.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    example: ClassVar[Example | None] = None

    def __init__(self, detail: str, **extras: Any) -> None:  # noqa: ANN401 - JSON members
        super().__init__(detail)
        self.detail = detail
        self.extras = extras


class NotFoundError(CrmError):
    """The named resource does not exist."""

    code = "not_found"
    title = "Not found"


class ConflictError(CrmError):
    """The request is well formed, but the present state forbids it."""

    code = "conflict"
    title = "Conflict"


class PreconditionFailedError(CrmError):
    """The request depends on a state that has changed."""

    code = "precondition_failed"
    title = "Precondition failed"


@dataclass(frozen=True, kw_only=True)
class FieldProblem:
    """One fault in the input: a JSON pointer to it, a stable code, and a sentence."""

    pointer: str
    code: str
    detail: str


class MalformedError(CrmError):
    """The body cannot be parsed at all."""

    code = "malformed"
    title = "Malformed request"


class TooLargeError(CrmError):
    """The body is larger than this route accepts."""

    code = "too_large"
    title = "Request too large"


class UnreadableKindError(CrmError):
    """The body has a media type that this route does not accept."""

    code = "unreadable_kind"
    title = "Kind of body not read"


class UnacceptableError(CrmError):
    """This route offers no media type that the caller accepts."""

    code = "unacceptable"
    title = "Kind of answer not given"


class InvalidError(CrmError):
    """The input cannot be accepted; ``errors`` names each fault with a JSON pointer.

    Attributes:
        pointer: The field that has the fault, where ``errors`` is left out.
    """

    code = "invalid"
    title = "Invalid input"
    pointer: ClassVar[str] = ""

    def __init__(
        self,
        detail: str,
        *,
        errors: list[FieldProblem] | None = None,
        **extras: Any,  # noqa: ANN401 - JSON members
    ) -> None:
        super().__init__(detail, **extras)
        if errors is None and self.pointer:
            errors = [FieldProblem(pointer=self.pointer, code=self.code, detail=detail)]
        self.errors = errors or []


class UnauthenticatedError(CrmError):
    """No credentials, or none that are known."""

    code = "unauthenticated"
    title = "Not authenticated"


class ForbiddenError(CrmError):
    """Known, but not allowed."""

    code = "forbidden"
    title = "Forbidden"


class RateLimitedError(CrmError):
    """Too many requests; ``retry_after_seconds`` says when to come back."""

    code = "rate_limited"
    title = "Too many requests"


class TransientError(CrmError):
    """A system that this service depends on is not available; trying again later can help."""

    code = "unavailable"
    title = "Temporarily unavailable"
