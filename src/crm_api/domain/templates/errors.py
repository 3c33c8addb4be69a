"""What can go wrong with saved texts."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class TemplateNotFoundError(NotFoundError):
    """No saved text has this id."""

    code = "template_not_found"
    title = "Template not found"


class TemplateExistsError(ConflictError):
    """Another saved text already has this name; ``template_id`` names it."""

    code = "template_exists"
    title = "Template already exists"


class InvalidTemplateError(InvalidError):
    """The text has faults; each is told with its line and column."""

    code = "invalid_template"
    title = "Invalid template"

    def __init__(self, errors: list[FieldProblem]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        super().__init__(f"The text has {count}; mend them and save again.", errors=errors)
