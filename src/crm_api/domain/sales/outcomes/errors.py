"""Errors of recording, reversing and reading outcomes."""

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError, NotFoundError
from crm_api.domain.kit.examples import example_id


class OutcomeNotFoundError(NotFoundError):
    """No outcome has this id."""

    code = "outcome_not_found"
    title = "Outcome not found"
    detail = "There is no outcome with this id. GET /v1/outcomes lists the outcomes."


class OutcomeExistsError(ConflictError):
    """The source has already recorded a different outcome under this ``external_id``.

    ``outcome_id`` is the id of the recorded outcome. An outcome is never changed. To correct it,
    reverse it, and record the right values under another ``external_id``.
    """

    code = "outcome_exists"
    title = "Outcome already recorded with other values"
    example = Example(
        "This source has already recorded an outcome with this `external_id` and other values. "
        "To correct it, reverse the outcome `outcome_id` and record it again under another "
        "`external_id`.",
        outcome_id=example_id("outcome"),
    )


class OutcomeReversedError(ConflictError):
    """The outcome was already reversed; ``outcome_id`` is the id of the reversal."""

    code = "outcome_reversed"
    title = "Outcome already reversed"
    example = Example(
        "The outcome is already reversed, by the outcome `outcome_id`. If the original "
        "outcome was right, record it again.",
        outcome_id=example_id("reversal"),
    )


class ReversalError(ConflictError):
    """The outcome is a reversal, and reversals cannot be reversed."""

    code = "outcome_is_reversal"
    title = "Outcome is a reversal"
    detail = "A reversal cannot be reversed. If the outcome was right, record it again."


class OtherCurrencyError(InvalidError):
    """The amount is not in the currency of the company."""

    code = "other_currency"
    title = "Other currency"
    pointer = "/currency"
    detail = "Amounts are in USD. Convert the amount before you record it."


class OutcomePersonError(InvalidError):
    """The request gives both a contact and a phone number for the person, or neither of them."""

    code = "outcome_person"
    title = "One person needed"
    pointer = "/contact_id"
    detail = "Give either `contact_id` or `phone`, to say which person the outcome belongs to."


class OutcomeNameError(InvalidError):
    """An outcome of the kind ``custom`` has no name, or an outcome of another kind has one."""

    code = "outcome_name"
    title = "Name does not fit the kind"
    pointer = "/name"
    detail = "Give `name` if the kind is `custom`. Leave it out for all other kinds."
