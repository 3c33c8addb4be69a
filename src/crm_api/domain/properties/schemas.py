"""Properties in and out."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, field_validator

from crm_api.domain.contacts.schemas import AddressRead, Attributes, check_attributes
from crm_api.domain.fields import Name200, OptionalLine200
from crm_api.domain.properties.models import Property, PropertyRole
from crm_api.domain.schemas import Id, Instant, JsonObject, ReadModel, RequestModel

MOST_CONTACTS = 50
"""People of one property; each answer shows all."""

YearBuilt = Annotated[int, Field(ge=1600, le=2100)]


class PropertyAddress(RequestModel):
    """Where it is: the street with its unit, and its ZIP code or its city and state."""

    street: Name200
    city: OptionalLine200 = None
    state: OptionalLine200 = None
    postal_code: OptionalLine200 = None
    country: OptionalLine200 = None


class PropertyAddressChange(RequestModel):
    """What changes of an address; a field left out stays."""

    street: Name200 = ""
    city: OptionalLine200 = None
    state: OptionalLine200 = None
    postal_code: OptionalLine200 = None
    country: OptionalLine200 = None


class PropertyContactAdd(RequestModel):
    """Who belongs to the property, and as what; once more changes the role."""

    contact_id: Id
    role: PropertyRole = PropertyRole.OTHER


class PropertyCreate(RequestModel):
    """A new property."""

    address: PropertyAddress
    year_built: YearBuilt | None = None
    property_type: OptionalLine200 = None
    attributes: Attributes = Field(default_factory=dict)
    contacts: Annotated[list[PropertyContactAdd], Field(max_length=MOST_CONTACTS)] = Field(
        default_factory=list
    )


class PropertyUpdate(RequestModel):
    """What changes; a field left out stays, an explicit null clears it.

    ``address`` and ``attributes`` are merged: a member left out stays, a null removes it.
    """

    address: PropertyAddressChange = Field(default_factory=PropertyAddressChange)
    year_built: YearBuilt | None = None
    property_type: OptionalLine200 = None
    attributes: JsonObject | None = None

    @field_validator("attributes")
    @classmethod
    def _check(cls, attributes: JsonObject | None) -> JsonObject | None:
        return attributes if attributes is None else check_attributes(attributes)

    def columns(self, found: Property) -> dict[str, Any]:
        """Return the columns whose value differs from the property's.

        Raises:
            PydanticCustomError: The merged attributes exceed the limits.
        """
        values = self.model_dump(exclude={"address", "attributes"}, exclude_unset=True)
        values |= self.address.model_dump(exclude_unset=True)
        if "attributes" in self.model_fields_set:
            merged = {} if self.attributes is None else found.attributes | self.attributes
            values["attributes"] = check_attributes(
                {name: value for name, value in merged.items() if value is not None}
            )
        return {name: value for name, value in values.items() if getattr(found, name) != value}


@dataclass(frozen=True, kw_only=True)
class Occupant:
    """A person of a property."""

    property_id: UUID
    contact_id: UUID
    role: str
    phone: str
    first_name: str | None
    last_name: str | None


@dataclass(kw_only=True)
class PeopledProperty:
    """A property with its people, the primary first."""

    found: Property
    people: list[Occupant] = field(default_factory=list)


class OccupantRead(ReadModel):
    """A person of a property."""

    contact_id: Id
    role: PropertyRole
    phone: str
    first_name: str | None
    last_name: str | None


class PropertyRead(ReadModel):
    """A property with its people, the primary first."""

    id: Id
    address: AddressRead
    year_built: int | None
    property_type: str | None
    attributes: JsonObject
    contacts: list[OccupantRead]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, one: PeopledProperty) -> Self:
        """Shape a property."""
        found = one.found
        return cls(
            id=found.id,
            address=AddressRead.model_validate(found),
            year_built=found.year_built,
            property_type=found.property_type,
            attributes=found.attributes,
            contacts=[OccupantRead.model_validate(person) for person in one.people],
            created_at=found.created_at,
            updated_at=found.updated_at,
        )


@dataclass(frozen=True, kw_only=True)
class ImportedProperty:
    """A property as a row of a file tells of it; ``people`` are numbers in E.164 with roles."""

    street: str
    city: str | None
    state: str | None
    postal_code: str | None
    year_built: int | None
    property_type: str | None
    people: list[tuple[str, PropertyRole]]

    @classmethod
    def told(cls, *, people: list[tuple[str, str]], **values: Any) -> Self:  # noqa: ANN401 - the fields
        """Return it with roles as a file names them; another word is ``other``."""
        known = set(PropertyRole)
        return cls(
            people=[
                (phone, PropertyRole(role) if role in known else PropertyRole.OTHER)
                for phone, role in people
            ],
            **values,
        )


Position = tuple[datetime, UUID]
"""Where a page continues: after the row with this time and id."""
