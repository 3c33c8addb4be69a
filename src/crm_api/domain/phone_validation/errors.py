"""What can go wrong with the validation of numbers."""

from crm_api.domain.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.retrying import BusyError


class PhoneValidationNotFoundError(NotFoundError):
    """No run has this id."""

    code = "phone_validation_not_found"
    title = "Phone validation not found"


class PhoneValidationEndedError(ConflictError):
    """A run that has ended cannot be cancelled."""

    code = "phone_validation_ended"
    title = "Phone validation has ended"


class NobodyToValidateError(InvalidError):
    """The list is empty, or none of the contacts exists."""

    code = "nobody_to_validate"
    title = "Nobody to validate"


class PhoneLookupBusyError(BusyError):
    """The look-up service is away, overloaded or limits us; trying again later can help."""

    code = "phone_lookup_busy"
    title = "Phone look-up service is not available"


class PhoneLookupRefusedError(ConflictError):
    """The service refuses the key, or is none: no number will be answered until that is put right.

    Nothing that is refused so counts against the budget.
    """

    code = "phone_lookup_refused"
    title = "Phone look-up service refused the request"


class BudgetSpentError(TransientError):
    """The look-ups of the day are used up."""

    code = "phone_lookup_budget_spent"
    title = "Budget of look-ups spent"


class ValidationLostError(ConflictError):
    """Somebody else goes on with the run, or it was cancelled: nothing more is written on it."""

    code = "phone_validation_lost"
    title = "Phone validation is somebody else's by now"
