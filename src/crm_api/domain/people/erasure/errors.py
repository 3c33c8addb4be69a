"""Errors of erasures."""

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError

OUTCOME_UNKNOWN = (
    "It is not known yet whether a message to this person was sent. Try again in some minutes. If "
    "the message waits for a decision, settle it first."
)


class ErasureBlockedError(ConflictError):
    """It is not known yet if messages to the person were sent; ``texts`` counts these messages."""

    code = "text_under_way"
    title = "A message is in progress"
    example = Example(
        OUTCOME_UNKNOWN,
        texts=1,
    )


class ErasureNotFoundError(NotFoundError):
    """No erasure has this id."""

    code = "erasure_not_found"
    title = "Erasure not found"
