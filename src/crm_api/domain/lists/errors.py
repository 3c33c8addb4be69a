"""What can go wrong with lists."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class ListNotFoundError(NotFoundError):
    """No list has this id."""

    code = "list_not_found"
    title = "List not found"


class ListExistsError(ConflictError):
    """Another list already has this name; ``list_id`` names it."""

    code = "list_exists"
    title = "List already exists"


class MemberNotFoundError(NotFoundError):
    """The contact is not on the list."""

    code = "list_member_not_found"
    title = "Contact is not on the list"


class UnknownContactsError(InvalidError):
    """Some ids are no contacts; nobody was added."""

    code = "unknown_contacts"
    title = "Unknown contacts"

    def __init__(self, positions: list[int]) -> None:
        super().__init__(
            f"{len(positions)} of the ids are no contacts; nobody was added.",
            errors=[
                FieldProblem(
                    pointer=f"/contact_ids/{position}",
                    code="contact_not_found",
                    detail="No contact has this id.",
                )
                for position in positions
            ],
        )
