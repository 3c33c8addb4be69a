"""What can go wrong with credentials."""

from crm_api.domain.errors import ForbiddenError, NotFoundError, UnauthenticatedError


class MissingCredentialsError(UnauthenticatedError):
    """The request carries no API key."""

    code = "missing_credentials"
    title = "API key needed"


class InvalidCredentialsError(UnauthenticatedError):
    """The API key is not known or was revoked."""

    code = "invalid_credentials"
    title = "API key not accepted"


class MissingScopeError(ForbiddenError):
    """The key may not do this."""

    code = "missing_scope"
    title = "Scope missing"


class ApiKeyNotFoundError(NotFoundError):
    """No key has this id."""

    code = "api_key_not_found"
    title = "API key not found"
