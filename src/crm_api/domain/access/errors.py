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
