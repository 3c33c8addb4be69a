"""Request and response models of custom fields."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200, OptionalLine200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.models.contacts import FieldType

MAX_CHOICES = 200


def _differ(choices: list[str]) -> list[str]:
    if len({choice.casefold() for choice in choices}) < len(choices):
        raise PydanticCustomError(
            "choices_alike", "Two choices differ only in upper and lower case. Remove one of them."
        )
    return choices


Choices = Annotated[list[Name200], Field(max_length=MAX_CHOICES), AfterValidator(_differ)]
FieldName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$"),
    Field(description="The key of the field's value in a contact's `attributes`."),
]


class CustomFieldCreate(RequestModel):
    """A new custom field.

    Attributes:
        label: The name that users see; by default the same as `name`.
        type: The type of the field's values.
        choices: The allowed values of a field of the type `choice`; empty for other types.
        required: True: a new contact must have a value, and the value cannot be removed.
    """

    model_config = example(name="year_built", label="Year built", type="integer")

    name: FieldName
    label: OptionalLine200 = None
    type: FieldType
    choices: Choices = Field(default_factory=list)
    required: StrictBool = False


class CustomFieldUpdate(RequestModel):
    """A change of a custom field. A value that is not given does not change.

    The name cannot change, because segments refer to it.

    Attributes:
        label: The name that users see.
        type: The type of the field's values.
        choices: The allowed values for the type `choice`; empty for other types.
        required: True: a new contact must have a value, and the value cannot be removed.
    """

    model_config = example(label="Built in")

    label: Name200 = ""
    type: FieldType = FieldType.TEXT
    choices: Choices = Field(default_factory=list)
    required: StrictBool = False


class CustomFieldRead(ReadModel):
    """A custom field: a contact attribute whose values have a type.

    Attributes:
        name: The key of the value in a contact's `attributes`.
        label: The name that users see.
        type: The type of the field's values.
        choices: The allowed values for the type `choice`; empty for other types.
        required: True: a new contact must have a value, and the value cannot be removed.
        is_applied: False while a job still converts stored values to the type.
        archived_at: When the field was archived; null if it is not archived.
    """

    model_config = example(
        name="year_built", label="Year built", type="integer", choices=[], is_applied=True
    )

    id: Id
    name: str
    label: str
    type: FieldType
    choices: list[str]
    required: bool
    is_applied: bool
    archived_at: Instant | None
    created_at: Instant
    updated_at: Instant


class CustomFieldMisfitRead(ReadModel):
    """A stored value that does not fit the type of the custom field.

    Attributes:
        contact_id: One of the contacts that have this value.
        value: The value that does not fit.
        detail: Which values the type accepts.
    """

    model_config = example(value="about 1928", detail="Give a whole number, such as 1987.")

    contact_id: Id
    value: Any
    detail: str


class CustomFieldFitRead(ReadModel):
    """The result of a dry run: how the values that contacts already have fit the type.

    Attributes:
        fitting: The number of contacts whose value fits unchanged.
        rewritten: The number of contacts whose value would be converted.
        misfits: The number of contacts whose value does not fit.
        examples: Up to 10 values that do not fit, each with one contact.
    """

    model_config = example(fitting=238, rewritten=2, misfits=1)

    fitting: int
    rewritten: int
    misfits: int
    examples: list[CustomFieldMisfitRead]
