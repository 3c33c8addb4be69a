"""Errors of calendar accounts."""

from uuid import UUID

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import example_id


class CalendarAccountNotFoundError(NotFoundError):
    """No calendar account has this id."""

    code = "calendar_account_not_found"
    title = "Calendar account not found"
    detail = (
        "There is no calendar account with this id. GET /v1/calendar-accounts lists the accounts."
    )


class CalendarAccountExistsError(ConflictError):
    """Another account already synchronises this calendar.

    ``account_id`` is the id of that account.
    """

    code = "calendar_account_exists"
    title = "Calendar account already exists"
    example = Example(UUID(example_id("calendar_account")))

    def __init__(self, account_id: UUID) -> None:
        super().__init__(
            "Another account already synchronises this calendar. Delete that account first, or "
            "give the address of another calendar.",
            account_id=str(account_id),
        )


class InvalidCalendarUrlError(InvalidError):
    """The service is not allowed to connect to the address of the calendar."""

    code = "invalid_calendar_url"
    title = "Address of the calendar not accepted"
    pointer = "/url"
    example = Example("The URL must begin with https://.")

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=self.pointer, code=self.code, detail=detail)]
        )


class TooManyCalendarAccountsError(ConflictError):
    """No more calendar accounts can be created, because the maximum number exists."""

    code = "too_many_calendar_accounts"
    title = "Too many calendar accounts"
    example = Example("There are 50 calendar accounts, which is the maximum. Delete one first.")


class CalendarServerError(Exception):
    """The calendar server cannot be used now.

    Attributes:
        detail: What happened and what to do, without the password.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class CalendarTooLargeError(CalendarServerError):
    """The calendar has more events or more bytes than this service reads."""
