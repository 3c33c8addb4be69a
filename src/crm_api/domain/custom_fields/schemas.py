"""Custom fields in and out."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from crm_api.domain.custom_fields.models import CustomField, FieldType
from crm_api.domain.fields import Name200, OptionalLine200
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

MAX_CHOICES = 200


def _differ(choices: list[str]) -> list[str]:
    if len({choice.casefold() for choice in choices}) < len(choices):
        raise PydanticCustomError(
            "choices_alike", "Two choices are the same but for their capitals."
        )
    return choices


Choices = Annotated[list[Name200], Field(max_length=MAX_CHOICES), AfterValidator(_differ)]
FieldName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$"),
    Field(description="The key in a contact's `attributes`."),
]


class CustomFieldCreate(RequestModel):
    """A field for an attribute; the label is the name when it is left out."""

    name: FieldName
    label: OptionalLine200 = None
    type: FieldType
    choices: Choices = Field(default_factory=list)
    required: StrictBool = False


class CustomFieldUpdate(RequestModel):
    """What changes; a field left out stays. The name does not change: texts and rules use it."""

    label: Name200 = ""
    type: FieldType = FieldType.TEXT
    choices: Choices = Field(default_factory=list)
    required: StrictBool = False


class CustomFieldRead(ReadModel):
    """A field; ``is_applied`` is false while older values are brought into its writing."""

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
        """Shape a field."""
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
    """A stored value that a type cannot take, and one of the contacts that have it."""

    contact_id: UUID
    value: Any
    detail: str


@dataclass(kw_only=True)
class Fit:
    """What a definition would do to the values that are there; contacts are counted.

    Attributes:
        fitting: Have a value in the type's writing already.
        rewritten: Have one that would be written in it, such as ``"1,987"`` as ``1987``.
        misfits: Have one that the type cannot take; ``examples`` shows a few.
    """

    fitting: int = 0
    rewritten: int = 0
    misfits: int = 0
    examples: list[Misfit] = field(default_factory=list)


class MisfitRead(ReadModel):
    """A stored value that the type cannot take."""

    contact_id: Id
    value: Any
    detail: str


class FitRead(ReadModel):
    """What a definition would do to the values that are there; nothing was changed."""

    fitting: int
    rewritten: int
    misfits: int
    examples: list[MisfitRead]
