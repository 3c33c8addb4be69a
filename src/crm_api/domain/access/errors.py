"""What can go wrong with credentials."""

from crm_api.domain.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)


class MissingCredentialsError(UnauthenticatedError):
    """The request carries no API key."""

    code = "missing_credentials"
    title = "API key needed"


class InvalidCredentialsError(UnauthenticatedError):
    """The API key is not known."""

    code = "invalid_credentials"
    title = "API key not accepted"


class ApiKeyRevokedError(UnauthenticatedError):
    """The API key was revoked."""

    code = "api_key_revoked"
    title = "API key was revoked"


class ApiKeyExpiredError(UnauthenticatedError):
    """The API key's time is over."""

    code = "api_key_expired"
    title = "API key has expired"


class MissingScopeError(ForbiddenError):
    """The key may not do this."""

    code = "missing_scope"
    title = "Scope missing"


class ScopeNotHeldError(ForbiddenError):
    """Nobody gives away what they may not do themselves."""

    code = "scope_not_held"
    title = "Scope cannot be granted"


class UserNeededError(ForbiddenError):
    """This is for people, and an API key calls."""

    code = "user_needed"
    title = "User needed"

    def __init__(self) -> None:
        super().__init__("This is for users: sign in at /v1/auth/token; an API key has no session.")


class ApiKeyNotFoundError(NotFoundError):
    """No key has this id."""

    code = "api_key_not_found"
    title = "API key not found"


class ApiKeyRotatedError(ConflictError):
    """The key has a successor already."""

    code = "api_key_rotated"
    title = "API key was rotated before"


class UnknownScopeError(InvalidError):
    """A scope that does not exist."""

    code = "unknown_scope"
    title = "Unknown scope"


class ExpiryInThePastError(InvalidError):
    """A key that would be over before it is used."""

    code = "expiry_in_the_past"
    title = "Expiry in the past"
