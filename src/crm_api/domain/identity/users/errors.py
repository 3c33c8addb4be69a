"""Errors of users and their sign-ins."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    RateLimitedError,
    TransientError,
    UnauthenticatedError,
)
from crm_api.domain.kit.examples import example_id


class WrongCredentialsError(UnauthenticatedError):
    """No active user has this address and this password."""

    code = "wrong_credentials"
    title = "Sign-in failed"

    def __init__(self) -> None:
        super().__init__("This e-mail address and password do not belong together.")


class TooManySignInsError(RateLimitedError):
    """Too many sign-ins failed for this account or from this address."""

    code = "too_many_sign_ins"
    title = "Too many failed sign-ins"
    example = Example(
        "Too many passwords were wrong. Try again in 30 seconds, or reset the password."
    )


class PasswordsBusyError(TransientError):
    """Too many passwords are being checked at the same time; this one was not checked."""

    code = "passwords_busy"
    title = "Too many passwords at once"

    def __init__(self) -> None:
        super().__init__(
            "Too many passwords are being checked at the moment. Try again in a few seconds.",
            retry_after_seconds=5,
        )


class SessionOverError(UnauthenticatedError):
    """The token is not known, was used before, or its session has ended."""

    code = "session_over"
    title = "Session is over"

    def __init__(self) -> None:
        super().__init__("This session is over; sign in again.")


class CsrfError(ForbiddenError):
    """The request has only the cookie, as a request from another site would."""

    code = "csrf_token_missing"
    title = "CSRF token missing"

    def __init__(self) -> None:
        super().__init__(
            "With the cookie send the value of the cookie crm_csrf in the header X-CSRF-Token."
        )


class UserNotFoundError(NotFoundError):
    """No user has this id."""

    code = "user_not_found"
    title = "User not found"


class UserExistsError(ConflictError):
    """Another user has this e-mail address; ``user_id`` is that user's id."""

    code = "user_exists"
    title = "User already exists"
    example = Example("A user with this e-mail address exists.", user_id=example_id("user"))


class LastOwnerError(ConflictError):
    """No active owner would be left to manage users."""

    code = "last_owner"
    title = "Last owner"

    def __init__(self) -> None:
        super().__init__("This is the only active owner; make somebody else an owner before this.")


class TicketOverError(InvalidError):
    """The link is not known, was used, or is too old."""

    code = "ticket_over"
    title = "Link is not valid any more"
    pointer = "/token"

    def __init__(self) -> None:
        detail = "This link was used already or is too old; ask for a new one."
        super().__init__(detail)


class WeakPasswordError(InvalidError):
    """The password is easily guessed."""

    code = "weak_password"
    title = "Password is too weak"
    pointer = "/password"
    example = Example("A password has 10 to 256 characters.")


class UnsupportedGrantError(InvalidError):
    """The token route does not support this grant type."""

    code = "unsupported_grant_type"
    title = "Grant is not supported"
    pointer = "/grant_type"

    def __init__(self) -> None:
        detail = "Send grant_type=password with username and password, or grant_type=refresh_token."
        super().__init__(detail)
