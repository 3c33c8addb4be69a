"""What can go wrong with users and their sign-ins."""

from crm_api.domain.errors import (
    ConflictError,
    FieldProblem,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    RateLimitedError,
    UnauthenticatedError,
)


class WrongCredentialsError(UnauthenticatedError):
    """No active user has this address and this password."""

    code = "wrong_credentials"
    title = "Sign-in failed"

    def __init__(self) -> None:
        super().__init__("This e-mail address and password do not belong together.")


class TooManySignInsError(RateLimitedError):
    """Too many failures for this account or from this address."""

    code = "too_many_sign_ins"
    title = "Too many failed sign-ins"


class SessionOverError(UnauthenticatedError):
    """The token is not known, was used before, or its session has ended."""

    code = "session_over"
    title = "Session is over"

    def __init__(self) -> None:
        super().__init__("This session is over; sign in again.")


class CsrfError(ForbiddenError):
    """The request came with the cookie alone, as one from a foreign page would."""

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
    """Another user has this address; ``user_id`` names them."""

    code = "user_exists"
    title = "User already exists"


class LastOwnerError(ConflictError):
    """Nobody would be left who may manage users."""

    code = "last_owner"
    title = "Last owner"

    def __init__(self) -> None:
        super().__init__("This is the only active owner; make somebody else an owner before this.")


class TicketOverError(InvalidError):
    """The link is not known, was used, or is too old."""

    code = "ticket_over"
    title = "Link is not valid any more"

    def __init__(self) -> None:
        detail = "This link was used already or is too old; ask for a new one."
        super().__init__(
            detail, errors=[FieldProblem(pointer="/token", code=self.code, detail=detail)]
        )


class WeakPasswordError(InvalidError):
    """The password is easily guessed."""

    code = "weak_password"
    title = "Password is too weak"

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer="/password", code=self.code, detail=detail)]
        )


class UnsupportedGrantError(InvalidError):
    """The token route takes other grants."""

    code = "unsupported_grant_type"
    title = "Grant is not supported"

    def __init__(self) -> None:
        detail = "Send grant_type=password with username and password, or grant_type=refresh_token."
        super().__init__(
            detail, errors=[FieldProblem(pointer="/grant_type", code=self.code, detail=detail)]
        )
