"""Errors of saved replies."""

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example_id


class SavedReplyNotFoundError(NotFoundError):
    """No saved reply has this id."""

    code = "saved_reply_not_found"
    title = "Saved reply not found"

    def __init__(self) -> None:
        super().__init__("No saved reply has this id. GET /v1/saved-replies lists them.")


class SavedReplyExistsError(ConflictError):
    """Another saved reply has this name. ``saved_reply_id`` is its id."""

    code = "saved_reply_exists"
    title = "Saved reply already exists"
    example = Example(example_id("saved_reply"))

    def __init__(self, saved_reply_id: str) -> None:
        super().__init__(
            "Another saved reply already has this name. Choose another name, or change the saved "
            "reply whose id is in `saved_reply_id`.",
            saved_reply_id=saved_reply_id,
        )
