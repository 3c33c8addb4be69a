"""What can go wrong with an erasure."""

from crm_api.domain.errors import ConflictError, NotFoundError


class ErasureBlockedError(ConflictError):
    """A text to the person is under way, and its end is not known yet; ``texts`` counts them."""

    code = "text_under_way"
    title = "A text is under way"


class ErasureNotFoundError(NotFoundError):
    """No erasure has this id."""

    code = "erasure_not_found"
    title = "Erasure not found"
