"""Errors of saved views."""

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example_id


class SavedViewNotFoundError(NotFoundError):
    """The user has no saved view with this id."""

    code = "saved_view_not_found"
    title = "Saved view not found"

    def __init__(self) -> None:
        super().__init__(
            "You have no saved view with this id. GET /v1/saved-views lists your saved views."
        )


class SavedViewExistsError(ConflictError):
    """The user already has a saved view of this list with this name."""

    code = "saved_view_exists"
    title = "Saved view exists"
    example = Example(
        "You already have a saved view of this list with this name. Choose another name, or change "
        "the view whose id is in `saved_view_id`.",
        saved_view_id=example_id("saved_view"),
    )
