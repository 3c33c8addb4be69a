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
    detail = "No custom field has this id. GET /v1/custom-fields lists the fields."


class CustomFieldExistsError(ConflictError):
    """Another custom field already has this name; ``custom_field_id`` is its id."""

    code = "custom_field_exists"
    title = "Custom field already exists"
    example = Example(
        "Another custom field has this name. Change that field, or choose another name.",
        custom_field_id=example_id("custom_field"),
    )


class CustomFieldArchivedError(ConflictError):
    """The custom field is archived. It can still be read, but not changed."""

    code = "custom_field_archived"
    title = "Custom field is archived"
    detail = (
        "This custom field is archived and cannot be changed. Create a new custom field with the "
        "same name."
    )


class TooManyCustomFieldsError(ConflictError):
    """There are already 200 custom fields, the largest allowed number."""

    code = "too_many_custom_fields"
    title = "Too many custom fields"
    example = Example(
        "There are already 200 custom fields, the largest allowed number. Archive one before you "
        "create another."
    )


class ValuesDoNotFitError(ConflictError):
    """The values of some contacts do not fit the type; ``misfits`` is the number of contacts."""

    code = "values_do_not_fit"
    title = "Stored values do not fit"
    example = Example(
        "The value of `year_built` does not fit the type `integer` for 3 contacts. Correct these "
        "values first; the same request with `?dry_run=true` shows some of them.",
        misfits=3,
    )


class InvalidChoicesError(InvalidError):
    """A field of the type ``choice`` has no choices, or a field of another type has choices."""

    code = "invalid_choices"
    title = "Choices not accepted"
    pointer = "/choices"
    detail = (
        "A field of the type `choice` needs at least one choice. List the choices in `choices`."
    )


class FieldValuesError(InvalidError):
    """Some attributes are too large or do not fit their custom fields; ``errors`` lists them."""

    code = "invalid_attributes"
    title = "Attributes not accepted"
    example = Example(
        "The attributes take 20015 bytes as JSON. At most 16384 are allowed.",
        errors=[
            FieldProblem(
                pointer="/attributes",
                code="invalid_attributes",
                detail="The attributes take 20015 bytes as JSON. At most 16384 are allowed.",
            )
        ],
    )
