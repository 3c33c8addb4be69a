"""Request and response models of custom fields."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200, OptionalLine200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.models.custom_fields import CustomField, FieldType

MAX_CHOICES = 200


def _differ(choices: list[str]) -> list[str]:
    if len({choice.casefold() for choice in choices}) < len(choices):
        raise PydanticCustomError("choices_alike", "Two choices differ only in case; remove one.")
    return choices


Choices = Annotated[list[Name200], Field(max_length=MAX_CHOICES), AfterValidator(_differ)]
FieldName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$"),
    Field(description="The key in a contact's `attributes`."),
]


class CustomFieldCreate(RequestModel):
    """A new custom field; the label defaults to the name.

    Attributes:
        label: The name that is shown to people.
        choices: The values of a choice field.
        required: Whether each contact needs a value.
    """

    model_config = example(name="year_built", label="Year built", type="integer")

    name: FieldName
    label: OptionalLine200 = None
    type: FieldType
    choices: Choices = Field(default_factory=list)
    required: StrictBool = False


class CustomFieldUpdate(RequestModel):
    """The fields to change; a field left out stays. The name cannot change: rules use it.

    Attributes:
        label: The name that is shown to people.
        choices: The values of a choice field.
        required: Whether each contact needs a value.
    """

    model_config = example(label="Built in")

    label: Name200 = ""
    type: FieldType = FieldType.TEXT
    choices: Choices = Field(default_factory=list)
    required: StrictBool = False


class CustomFieldRead(ReadModel):
    """A custom field; ``is_applied`` is false while older values are converted to its type.

    Attributes:
        label: The name that is shown to people.
        choices: The values of a choice field.
        required: Whether each contact needs a value.
        is_applied: False while stored values are still being converted to the type.
        archived_at: When it was archived; null while it is in use.
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

    @classmethod
    def of(cls, found: CustomField) -> Self:
        """Build the response from a custom field."""
        return cls(
            id=found.id,
            name=found.name,
            label=found.label,
            type=FieldType(found.type),
            choices=found.choices,
            required=found.required,
            is_applied=found.applied_at is not None,
            archived_at=found.archived_at,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A stored value that does not fit a type, and one of the contacts that have it."""

    contact_id: UUID
    value: Any
    detail: str


@dataclass(kw_only=True)
class Fit:
    """The effect of a definition on the stored values, as numbers of contacts.

    Attributes:
        fitting: Contacts whose value already has the stored form of the type.
        rewritten: Contacts whose value would be converted, such as ``"1,987"`` to ``1987``.
        misfits: Contacts whose value does not fit the type; ``examples`` shows up to 10.
    """

    fitting: int = 0
    rewritten: int = 0
    misfits: int = 0
    examples: list[Misfit] = field(default_factory=list)


class CustomFieldMisfitRead(ReadModel):
    """A stored value that does not fit the type.

    Attributes:
        value: The value that does not fit.
    """

    model_config = example(value="about 1928", detail="This is not an integer.")

    contact_id: Id
    value: Any
    detail: str


class CustomFieldFitRead(ReadModel):
    """The effect of a definition on the stored values; nothing was changed.

    Attributes:
        fitting: The number of values that already fit.
        rewritten: The number of values that are converted to another form.
        misfits: The number of values that do not fit.
        examples: Some values that do not fit, with their contacts.
    """

    model_config = example(fitting=238, rewritten=2, misfits=1)

    fitting: int
    rewritten: int
    misfits: int
    examples: list[CustomFieldMisfitRead]
