"""What can go wrong with custom fields."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class CustomFieldNotFoundError(NotFoundError):
    """No custom field has this id."""

    code = "custom_field_not_found"
    title = "Custom field not found"


class CustomFieldExistsError(ConflictError):
    """Another custom field already has this name; ``custom_field_id`` names it."""

    code = "custom_field_exists"
    title = "Custom field already exists"


class CustomFieldArchivedError(ConflictError):
    """The custom field was deleted: it is kept to be read, and not changed."""

    code = "custom_field_archived"
    title = "Custom field is archived"


class TooManyCustomFieldsError(ConflictError):
    """As many fields are defined as may be."""

    code = "too_many_custom_fields"
    title = "Too many custom fields"


class ValuesDoNotFitError(ConflictError):
    """Contacts have values that the type cannot take; ``misfits`` counts them."""

    code = "values_do_not_fit"
    title = "Stored values do not fit"


class InvalidChoicesError(InvalidError):
    """A choice field names its choices, and no other field has any."""

    code = "invalid_choices"
    title = "Choices not accepted"

    def __init__(self, detail: str) -> None:
        fault = FieldProblem(pointer="/choices", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])


class FieldValuesError(InvalidError):
    """Attributes do not fit their definitions; ``errors`` names each."""

    code = "invalid_attributes"
    title = "Attributes not accepted"
