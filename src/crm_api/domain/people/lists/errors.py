"""Errors of lists."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import LIST


class ListNotFoundError(NotFoundError):
    """No list has this id."""

    code = "list_not_found"
    title = "List not found"
    detail = "No list has this id. GET /v1/lists returns all lists."


class ListExistsError(ConflictError):
    """Another list already has this name; ``list_id`` is its id."""

    code = "list_exists"
    title = "List already exists"
    example = Example(
        "Another list has this name. Use that list, or choose another name.", list_id=LIST
    )


class MemberNotFoundError(NotFoundError):
    """The contact is not on the list."""

    code = "list_member_not_found"
    title = "Contact is not on the list"
    detail = "This contact is not on the list. GET /v1/lists/{list_id}/contacts lists its contacts."


class UnknownContactsError(InvalidError):
    """Some ids do not belong to a contact; no contact was added."""

    code = "unknown_contacts"
    title = "Unknown contacts"
    example = Example([1])

    def __init__(self, positions: list[int]) -> None:
        super().__init__(
            "No contact was added, because not every id belongs to a contact. Remove the ids that "
            f"`errors` lists ({len(positions)} in all).",
            errors=[
                FieldProblem(
                    pointer=f"/contact_ids/{position}",
                    code="contact_not_found",
                    detail="No contact has this id.",
                )
                for position in positions
            ],
        )
