"""Errors of the validation of phone numbers."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.retrying import BusyError


class PhoneValidationNotFoundError(NotFoundError):
    """No phone validation has this id."""

    code = "phone_validation_not_found"
    title = "Phone validation not found"
    detail = "No phone validation has this id. GET /v1/phone-validations lists them."


class PhoneValidationEndedError(ConflictError):
    """The phone validation has ended, so it cannot be cancelled."""

    code = "phone_validation_ended"
    title = "Phone validation has ended"
    example = Example(
        "This run has ended with the status `cancelled`, so it cannot be cancelled. Request a new "
        "run if you need one."
    )


class NobodyToValidateError(InvalidError):
    """The validation has no contacts: the list is empty, or no given id belongs to a contact."""

    code = "nobody_to_validate"
    title = "No contacts to validate"
    example = Example("No id in `contact_ids` belongs to a contact. Get ids from GET /v1/contacts.")


class PhoneLookupBusyError(BusyError):
    """The look-up service is unavailable or overloaded, or refuses further requests for now."""

    code = "phone_lookup_busy"
    title = "Phone look-up service is not available"
    example = Example(
        "The phone look-up service is temporarily unavailable (HTTP status 429). Try again later."
    )


class PhoneLookupRefusedError(ConflictError):
    """The look-up service refuses the API key, or no look-up service is at the URL.

    Correct the settings. A refused look-up does not count against the daily budget.
    """

    code = "phone_lookup_refused"
    title = "Phone look-up service refused the request"
    example = Example(
        "The phone look-up service returned HTTP status 401. Check CRM_PHONE_LOOKUP_API_KEY "
        "and the account at the service."
    )


class BudgetSpentError(TransientError):
    """All paid look-ups of today are used."""

    code = "phone_lookup_budget_spent"
    title = "Daily look-up budget is used up"
    example = Example(
        "All 1000 phone look-ups of today are used. The next look-ups are made after midnight UTC. "
        "To change the limit, set CRM_PHONE_LOOKUP_DAILY_BUDGET."
    )


class ValidationLostError(ConflictError):
    """The phone validation was cancelled or taken over by another worker; this worker must stop."""

    code = "phone_validation_lost"
    title = "Phone validation taken over or cancelled"
    detail = "Another worker has taken over this run, or the run was cancelled. This worker stops."
