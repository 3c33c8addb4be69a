"""Errors of erasures."""

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError


class ErasureBlockedError(ConflictError):
    """The outcome of a message to the person is not known yet; ``texts`` is their number."""

    code = "text_under_way"
    title = "A message is in progress"
    example = Example(
        "A text to this person is under way, and whether it was sent is not known yet; try "
        "again in some minutes. One that waits for a person must be settled first.",
        texts=1,
    )


class ErasureNotFoundError(NotFoundError):
    """No erasure has this id."""

    code = "erasure_not_found"
    title = "Erasure not found"
