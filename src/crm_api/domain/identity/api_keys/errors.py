"""Errors of API keys and their scopes."""

from collections.abc import Mapping

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from crm_api.domain.kit.examples import example_id


class MissingCredentialsError(UnauthenticatedError):
    """The request has no API key and no access token."""

    code = "missing_credentials"
    title = "Credentials missing"
    example = Example(
        "Send an API key or an access token as `Authorization: Bearer <key or token>`."
    )


class InvalidCredentialsError(UnauthenticatedError):
    """The request has an API key that does not exist."""

    code = "invalid_credentials"
    title = "Unknown API key"
    example = Example(
        "This API key does not exist. Check that it was made by this service, or create a new key: "
        "POST /v1/api-keys, or `crm-api keys create`."
    )


class ApiKeyRevokedError(UnauthenticatedError):
    """The API key of the request was revoked."""

    code = "api_key_revoked"
    title = "API key revoked"
    example = Example(
        "This API key was revoked at 2026-11-24T00:00:00.000Z. Use another key, or create a new "
        "key: POST /v1/api-keys, or `crm-api keys create`."
    )


class ApiKeyExpiredError(UnauthenticatedError):
    """The API key of the request has expired."""

    code = "api_key_expired"
    title = "API key expired"
    example = Example(
        "This API key expired at 2026-11-24T00:00:00.000Z. Use the key that replaced it, or "
        "create a new key: POST /v1/api-keys, or `crm-api keys create`."
    )


class MissingScopeError(ForbiddenError):
    """The key or user of the request lacks the scope that the operation needs."""

    code = "missing_scope"
    title = "Scope missing"
    example = Example(
        "This operation needs the scope contacts:write. Use an API key or a user with this scope.",
        required_scope="contacts:write",
    )


class ScopeNotHeldError(ForbiddenError):
    """The caller tried to give a key a scope that the caller does not have."""

    code = "scope_not_held"
    title = "Scope cannot be granted"
    example = Example(
        "You do not have the scope campaigns:send, so you cannot give it to a key. Leave the "
        "scope out, or ask a person who has this scope to create the key."
    )


class UserNeededError(ForbiddenError):
    """The operation is only for signed-in users, but the caller is an API key."""

    code = "user_needed"
    title = "Signed-in user required"
    detail = (
        "Only a signed-in user can do this, not an API key. Sign in with POST /v1/auth/token "
        "and send the access token."
    )


class ApiKeyNotFoundError(NotFoundError):
    """No API key has this id, or the request would change a key that was revoked."""

    code = "api_key_not_found"
    title = "API key not found"
    detail = "There is no API key with this id. GET /v1/api-keys lists the keys."


class ApiKeyRotatedError(ConflictError):
    """The API key was already replaced by a new key."""

    code = "api_key_rotated"
    title = "API key already rotated"
    example = Example(example_id("api_key"))

    def __init__(self, successor_id: str) -> None:
        super().__init__(
            f"This API key was already replaced by the key {successor_id}. Rotate that key "
            "instead.",
            successor_id=successor_id,
        )


class UnknownScopeError(InvalidError):
    """A requested scope does not exist, or no scope was given."""

    code = "unknown_scope"
    title = "Unknown scope"
    example = Example({0: "contacts:delete"})

    def __init__(self, unknown: Mapping[int, str]) -> None:
        """Create the error.

        Args:
            unknown: The names that are not scopes, by their position in the request. Empty if the
                request gives no scope.
        """
        errors = [
            FieldProblem(
                pointer=f"/scopes/{position}",
                code=self.code,
                detail=f"The scope {name[:40]!r} does not exist. Use one of: {', '.join(Scope)}.",
            )
            for position, name in unknown.items()
        ] or [FieldProblem(pointer="/scopes", code="empty", detail="Give at least one scope.")]
        super().__init__(errors[0].detail, errors=errors)


class ExpiryInThePastError(InvalidError):
    """The ``expires_at`` of an API key or a flag is not in the future."""

    code = "expiry_in_the_past"
    title = "Expiry in the past"
    pointer = "/expires_at"
    detail = "expires_at is not in the future. Give a later instant, or leave it out."
