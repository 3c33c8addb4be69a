"""Errors of API keys and their scopes."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)


class MissingCredentialsError(UnauthenticatedError):
    """The request carries no API key."""

    code = "missing_credentials"
    title = "API key needed"
    example = Example("Send an API key or an access token as `Authorization: Bearer <it>`.")


class InvalidCredentialsError(UnauthenticatedError):
    """The API key is not known."""

    code = "invalid_credentials"
    title = "API key not accepted"
    example = Example(
        "This API key is not known here. Check that it belongs to this service, or make one: "
        "POST /v1/api-keys, or `crm-api keys create`."
    )


class ApiKeyRevokedError(UnauthenticatedError):
    """The API key was revoked."""

    code = "api_key_revoked"
    title = "API key was revoked"
    example = Example(
        "This API key was revoked at 2026-11-24T00:00:00.000Z. Use another one, or make one: "
        "POST /v1/api-keys, or `crm-api keys create`."
    )


class ApiKeyExpiredError(UnauthenticatedError):
    """The API key has expired."""

    code = "api_key_expired"
    title = "API key has expired"
    example = Example(
        "This API key expired at 2026-11-24T00:00:00.000Z. Use the one that replaced it, or "
        "make one: POST /v1/api-keys, or `crm-api keys create`."
    )


class MissingScopeError(ForbiddenError):
    """The key may not do this."""

    code = "missing_scope"
    title = "Scope missing"
    example = Example(
        "This operation needs the scope contacts:write. Use a key or a user that has it.",
        required_scope="contacts:write",
    )


class ScopeNotHeldError(ForbiddenError):
    """A caller can grant only the scopes that it has itself."""

    code = "scope_not_held"
    title = "Scope cannot be granted"
    example = Example(
        "You lack the scope campaigns:send, so you cannot grant it. Leave it out, or ask "
        "somebody who has it."
    )


class UserNeededError(ForbiddenError):
    """The route is for signed-in users, and the caller is an API key."""

    code = "user_needed"
    title = "User needed"

    def __init__(self) -> None:
        super().__init__("This is for users: sign in at /v1/auth/token; an API key has no session.")


class ApiKeyNotFoundError(NotFoundError):
    """No key has this id."""

    code = "api_key_not_found"
    title = "API key not found"


class ApiKeyRotatedError(ConflictError):
    """The key already has a successor."""

    code = "api_key_rotated"
    title = "API key was rotated before"


class UnknownScopeError(InvalidError):
    """The scope does not exist."""

    code = "unknown_scope"
    title = "Unknown scope"


class ExpiryInThePastError(InvalidError):
    """The key or flag would expire before it begins."""

    code = "expiry_in_the_past"
    title = "Expiry in the past"
