"""Errors of users and of signing in."""

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
    """No active user has this e-mail address and this password."""

    code = "wrong_credentials"
    title = "Sign-in failed"
    detail = (
        "The e-mail address or the password is wrong. Check both, or reset the password with "
        "POST /v1/auth/password-reset."
    )


class TooManySignInsError(RateLimitedError):
    """Too many sign-ins failed for this account or from this network address."""

    code = "too_many_sign_ins"
    title = "Too many failed sign-ins"
    example = Example(
        "Too many sign-ins with a wrong password. Try again in 30 seconds, or reset the password."
    )


class PasswordsBusyError(TransientError):
    """The password was not checked, because too many passwords were being checked at that time."""

    code = "passwords_busy"
    title = "Too many simultaneous sign-ins"

    def __init__(self) -> None:
        super().__init__(
            "The password was not checked, because too many passwords are being checked at the "
            "moment. Try again in a few seconds.",
            retry_after_seconds=5,
        )


class SessionOverError(UnauthenticatedError):
    """The request has no valid access token or refresh token, or the session has ended."""

    code = "session_over"
    title = "Session ended"
    detail = "Your session has ended. Refresh the access token, or sign in again."


class CsrfError(ForbiddenError):
    """The request has the refresh cookie, but its CSRF header is missing or wrong."""

    code = "csrf_token_missing"
    title = "CSRF token missing"
    detail = (
        "The refresh token is in a cookie, so the header X-CSRF-Token is required. Set it to "
        "the value of the cookie crm_csrf."
    )


class UserNotFoundError(NotFoundError):
    """The user does not exist, or has a status that the request does not allow.

    For example, only an invited user can be invited again.
    """

    code = "user_not_found"
    title = "User not found"
    detail = "There is no user with this id. GET /v1/users lists all users."


class UserExistsError(ConflictError):
    """A user with this e-mail address already exists; ``user_id`` is the id of that user."""

    code = "user_exists"
    title = "User already exists"
    example = Example(
        "A user with this e-mail address already exists. To change the user, call PATCH "
        "/v1/users/{user_id}.",
        user_id=example_id("user"),
    )


class LastOwnerError(ConflictError):
    """The change would leave no active owner, so that nobody could manage users."""

    code = "last_owner"
    title = "Only active owner"
    detail = (
        "This user is the only active owner. Make another user an owner first, then repeat "
        "this change."
    )


class TicketOverError(InvalidError):
    """The token of a mailed link does not exist, was used before, or has expired."""

    code = "ticket_over"
    title = "Link no longer valid"
    pointer = "/token"

    def __init__(self) -> None:
        detail = "This link was already used or has expired. Ask for a new link."
        super().__init__(detail)


class WeakPasswordError(InvalidError):
    """The new password is easy to guess, too short or too long."""

    code = "weak_password"
    title = "Password is too weak"
    pointer = "/password"
    example = Example("The password must have 10 to 256 characters.")


class UnsupportedGrantError(InvalidError):
    """The sign-in request has a ``grant_type`` that this service does not support."""

    code = "unsupported_grant_type"
    title = "Grant type not supported"
    pointer = "/grant_type"

    def __init__(self) -> None:
        detail = (
            "This grant_type is not supported. Send grant_type=password with username and "
            "password, or grant_type=refresh_token with refresh_token."
        )
        super().__init__(detail)


class OwnerExistsError(ConflictError):
    """The service already has a user, so the link that creates the first owner is not valid."""

    code = "owner_exists"
    title = "First owner exists"
    detail = (
        "This service already has users, so the link that creates the first owner is no longer "
        "valid. Sign in, or ask an owner for an invitation."
    )
