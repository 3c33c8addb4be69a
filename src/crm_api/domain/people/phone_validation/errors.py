"""Errors of the validation of numbers."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.retrying import BusyError


class PhoneValidationNotFoundError(NotFoundError):
    """No run has this id."""

    code = "phone_validation_not_found"
    title = "Phone validation not found"


class PhoneValidationEndedError(ConflictError):
    """A run that ended cannot be cancelled."""

    code = "phone_validation_ended"
    title = "Phone validation has ended"
    example = Example("The run is cancelled.")


class NobodyToValidateError(InvalidError):
    """The list is empty, or none of the contacts exists."""

    code = "nobody_to_validate"
    title = "No contacts to validate"
    example = Example("None of these contacts exists.")


class PhoneLookupBusyError(BusyError):
    """The look-up service is unavailable, overloaded or limits requests; try again later."""

    code = "phone_lookup_busy"
    title = "Phone look-up service is not available"
    example = Example("The look-up service answered 429.")


class PhoneLookupRefusedError(ConflictError):
    """The service refuses the key, or the URL is not a look-up service; correct the settings.

    A refused look-up does not count against the budget.
    """

    code = "phone_lookup_refused"
    title = "Phone look-up service refused the request"
    example = Example(
        "The look-up service answered 401; check CRM_PHONE_LOOKUP_API_KEY and the account."
    )


class BudgetSpentError(TransientError):
    """All look-ups of the day are used."""

    code = "phone_lookup_budget_spent"
    title = "Budget of look-ups is used up"
    example = Example("The 1000 look-ups of the day are used up (CRM_PHONE_LOOKUP_DAILY_BUDGET).")


class ValidationLostError(ConflictError):
    """Another worker has the run, or it was cancelled; this worker writes nothing more to it."""

    code = "phone_validation_lost"
    title = "Phone validation was lost"
    example = Example("Another worker goes on with this run, or it was cancelled.")
