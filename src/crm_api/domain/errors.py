"""The kinds of failure that the business expects; a kind maps to a status in one table."""

from dataclasses import dataclass
from typing import Any, ClassVar


class CrmError(Exception):
    """A failure the business expects.

    Attributes:
        code: Stable, for programs.
        title: The same for every occurrence, for people.
        detail: About this occurrence; no secret and no other person's data.
        extras: Named members added to the problem document, for example ``contact_id``.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"

    def __init__(self, detail: str, **extras: Any) -> None:  # noqa: ANN401 - JSON members
        super().__init__(detail)
        self.detail = detail
        self.extras = extras


class NotFoundError(CrmError):
    """What was named does not exist."""

    code = "not_found"
    title = "Not found"


class ConflictError(CrmError):
    """The request is well formed, but the present state forbids it."""

    code = "conflict"
    title = "Conflict"


class PreconditionFailedError(CrmError):
    """The request depends on a state that is not there any more."""

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
    """The body is larger than what is taken here."""

    code = "too_large"
    title = "Request too large"


class UnreadableKindError(CrmError):
    """The body is of a kind that is not read here."""

    code = "unreadable_kind"
    title = "Kind of body not read"


class UnacceptableError(CrmError):
    """Nothing that is given here is what the caller takes."""

    code = "unacceptable"
    title = "Kind of answer not given"


class InvalidError(CrmError):
    """The input cannot be accepted; ``errors`` names each fault with a JSON pointer."""

    code = "invalid"
    title = "Invalid input"

    def __init__(
        self,
        detail: str,
        *,
        errors: list[FieldProblem] | None = None,
        **extras: Any,  # noqa: ANN401 - JSON members
    ) -> None:
        super().__init__(detail, **extras)
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
    """Something we depend on is away; trying again later can help."""

    code = "unavailable"
    title = "Temporarily unavailable"
