"""Request and response models of properties."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, field_validator

from crm_api.domain.kit.examples import CONTACT, example
from crm_api.domain.kit.fields import Name200, OptionalLine200
from crm_api.domain.kit.schemas import Id, Instant, JsonObject, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.contacts.schemas import AddressRead, Attributes, check_attributes
from crm_api.domain.people.models.properties import Property, PropertyRole

MOST_CONTACTS = 50
"""Largest number of contacts of one property; each response lists all of them."""

YearBuilt = Annotated[int, Field(ge=1600, le=2100)]


class PropertyAddress(RequestModel):
    """A postal address: the street with the unit, and either the ZIP code or the city and state.

    Attributes:
        country: The country. An address without a country is in the US or Canada.
    """

    street: Name200
    city: OptionalLine200 = None
    state: OptionalLine200 = None
    postal_code: OptionalLine200 = None
    country: OptionalLine200 = None


class PropertyAddressChange(PropertyAddress):
    """The fields of an address to change. A field that is left out keeps its value."""

    street: Name200 = ""


class PropertyContactAdd(RequestModel):
    """A contact to attach to the property. If the contact is already attached, its role changes.

    Attributes:
        contact_id: The id of the contact.
        role: The relation of the contact to the property.
    """

    model_config = example(contact_id=CONTACT, role="primary")

    contact_id: Id
    role: PropertyRole = PropertyRole.OTHER


class PropertyCreate(RequestModel):
    """A new property.

    Attributes:
        year_built: The year in which the property was built.
        property_type: The type of the property, such as ``single family``.
        contacts: The contacts that belong to the property.
    """

    model_config = example(
        address={"street": "12 Main Street", "city": "Quincy", "state": "MA"},
        year_built=1928,
        contacts=[{"contact_id": CONTACT, "role": "primary"}],
    )

    address: PropertyAddress
    year_built: YearBuilt | None = None
    property_type: OptionalLine200 = None
    attributes: Attributes = Field(default_factory=dict)
    contacts: Annotated[list[PropertyContactAdd], Field(max_length=MOST_CONTACTS)] = Field(
        default_factory=list
    )


class PropertyUpdate(RequestModel):
    """The fields of a property to change. A field that is left out keeps its value; null clears it.

    The same rule applies to each single field in ``address`` and in ``attributes``.

    Attributes:
        year_built: The year in which the property was built.
        property_type: The type of the property, such as ``single family``.
    """

    model_config = example(property_type="single family")

    address: PropertyAddressChange = Field(default_factory=PropertyAddressChange)
    year_built: YearBuilt | None = None
    property_type: OptionalLine200 = None
    attributes: JsonObject | None = None

    @field_validator("attributes")
    @classmethod
    def _check(cls, attributes: JsonObject | None) -> JsonObject | None:
        return attributes if attributes is None else check_attributes(attributes)

    def columns(self, found: Property) -> dict[str, Any]:
        """Return the columns of a property that this request changes, with their new values.

        A column whose value stays the same is left out. Attributes are added to the stored
        attributes. An attribute with the value null is removed.

        Raises:
            PydanticCustomError: After the change, the attributes would exceed the limits.
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
    """A contact that belongs to a property, with its role."""

    property_id: UUID
    contact_id: UUID
    role: Annotated[str, Vocabulary(PropertyRole)]
    phone: str
    first_name: str | None
    last_name: str | None


@dataclass(kw_only=True)
class PeopledProperty:
    """A property with its contacts, ordered by role: ``primary``, ``secondary``, ``other``."""

    found: Property
    people: list[Occupant] = field(default_factory=list)


class PropertyContactRead(ReadModel):
    """A contact that belongs to the property.

    Attributes:
        contact_id: The id of the contact.
        role: The relation of the contact to the property.
    """

    contact_id: Id
    role: PropertyRole
    phone: str
    first_name: str | None
    last_name: str | None


class PropertyRead(ReadModel):
    """A property with its contacts.

    Attributes:
        year_built: The year in which the property was built.
        property_type: The type of the property, such as ``single family``.
        contacts: The contacts that belong to the property, ordered by role: first `primary`, then
            `secondary`, then `other`.
    """

    model_config = example(
        year_built=1928,
        property_type="single family",
        attributes={"year_built": 1928, "roof": "slate"},
    )

    id: Id
    address: AddressRead
    year_built: int | None
    property_type: str | None
    attributes: JsonObject
    contacts: list[PropertyContactRead]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, one: PeopledProperty) -> Self:
        """Build the response from a stored property and its contacts."""
        found = one.found
        return cls(
            id=found.id,
            address=AddressRead.model_validate(found),
            year_built=found.year_built,
            property_type=found.property_type,
            attributes=found.attributes,
            contacts=[PropertyContactRead.model_validate(person) for person in one.people],
            created_at=found.created_at,
            updated_at=found.updated_at,
        )


Position = tuple[datetime, UUID]
"""The time and id of the last row of a page; the next page continues after it."""
