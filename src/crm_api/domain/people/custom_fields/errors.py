"""Errors of custom fields."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import example_id


class CustomFieldNotFoundError(NotFoundError):
    """No custom field has this id."""

    code = "custom_field_not_found"
    title = "Custom field not found"


class CustomFieldExistsError(ConflictError):
    """Another custom field already has this name; ``custom_field_id`` is its id."""

    code = "custom_field_exists"
    title = "Custom field already exists"
    example = Example(
        "A custom field with this name exists; change that one.",
        custom_field_id=example_id("custom_field"),
    )


class CustomFieldArchivedError(ConflictError):
    """The custom field was deleted; it can still be read, but not changed."""

    code = "custom_field_archived"
    title = "Custom field is archived"
    example = Example("It was deleted; define a new field with this name.")


class TooManyCustomFieldsError(ConflictError):
    """The limit of custom fields is reached."""

    code = "too_many_custom_fields"
    title = "Too many custom fields"
    example = Example("At most 200 custom fields are kept; archive one that is not needed.")


class ValuesDoNotFitError(ConflictError):
    """Contacts have values that do not fit the type; ``misfits`` is their number."""

    code = "values_do_not_fit"
    title = "Stored values do not fit"
    example = Example(
        "3 contacts have a value of year_built that is no integer; change these first. "
        "`?dry_run=true` shows some.",
        misfits=3,
    )


class InvalidChoicesError(InvalidError):
    """A choice field needs choices; a field of another type must not have any."""

    code = "invalid_choices"
    title = "Choices not accepted"
    pointer = "/choices"
    example = Example("Name the choices of a choice field.")


class FieldValuesError(InvalidError):
    """Attributes do not fit their definitions; ``errors`` lists them."""

    code = "invalid_attributes"
    title = "Attributes not accepted"
    example = Example(
        "The attributes take 20015 bytes as JSON; the limit is 16384.",
        errors=[
            FieldProblem(
                pointer="/attributes",
                code="invalid_attributes",
                detail="The attributes take 20015 bytes as JSON; the limit is 16384.",
            )
        ],
    )
