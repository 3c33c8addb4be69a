"""Contacts in and out."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, EmailStr, Field, field_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.consent.models import FlagType
from crm_api.domain.contacts.models import Contact
from crm_api.domain.fields import (
    BlankIsNull,
    OptionalLine200,
    PhoneNumber,
    RequestInstant,
    TimeZoneName,
    clean_line,
    refuse_nul,
)
from crm_api.domain.phone_validation.models import LineType
from crm_api.domain.schemas import Id, Instant, JsonObject, ReadModel, RequestModel

MAX_TAGS = 50
MAX_TAG_LENGTH = 64
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_NAME = 64
MAX_ATTRIBUTES_BYTES = 16 * 1024
MAX_ATTRIBUTE_DEPTH = 8
ADDRESS_FIELDS = ("street", "city", "state", "postal_code", "country")


def _read_tags(tags: list[str]) -> list[str]:
    cleaned = [clean_line(tag) for tag in tags]
    if any(not 1 <= len(tag) <= MAX_TAG_LENGTH for tag in cleaned):
        raise PydanticCustomError(
            "tag_length", "A tag has 1 to {limit} characters.", {"limit": MAX_TAG_LENGTH}
        )
    unique = list(dict.fromkeys(cleaned))
    if len(unique) > MAX_TAGS:
        raise PydanticCustomError(
            "too_many_tags", "At most {limit} tags are kept.", {"limit": MAX_TAGS}
        )
    return unique


def check_attributes(attributes: JsonObject) -> JsonObject:
    """Return the attributes.

    Raises:
        PydanticCustomError: Too many, too large, too deep, or not storable as JSON.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise PydanticCustomError(
            "too_many_attributes", "At most {limit} attributes are kept.", {"limit": MAX_ATTRIBUTES}
        )
    if any(not 1 <= len(name) <= MAX_ATTRIBUTE_NAME for name in attributes):
        raise PydanticCustomError(
            "attribute_name",
            "An attribute's name has 1 to {limit} characters.",
            {"limit": MAX_ATTRIBUTE_NAME},
        )
    _check_json(attributes, depth=0)
    size = len(json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_ATTRIBUTES_BYTES:
        raise PydanticCustomError(
            "attributes_too_large",
            "The attributes take {size} bytes as JSON; the limit is {limit}.",
            {"size": size, "limit": MAX_ATTRIBUTES_BYTES},
        )
    return attributes


def _check_json(value: Any, *, depth: int) -> None:  # noqa: ANN401 - whatever JSON holds
    if depth > MAX_ATTRIBUTE_DEPTH:
        raise PydanticCustomError("too_deep", "The attributes are nested too deeply.")
    if isinstance(value, dict):
        _check_all(value, depth=depth)
        _check_all(value.values(), depth=depth)
    elif isinstance(value, list):
        _check_all(value, depth=depth)
    elif isinstance(value, str):
        refuse_nul(value)
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise PydanticCustomError("not_unicode", "The text holds half of a character.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("not_finite", "NaN and Infinity are no JSON numbers.")


def _check_all(values: Iterable[Any], *, depth: int) -> None:
    for value in values:
        _check_json(value, depth=depth + 1)


def _empty_if_null(kind: type[Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: kind() if value is None else value)


Tags = Annotated[list[str], AfterValidator(_read_tags), _empty_if_null(list)]
Attributes = Annotated[JsonObject, AfterValidator(check_attributes), _empty_if_null(dict)]
Email = Annotated[EmailStr | None, BlankIsNull]
OptionalZone = Annotated[TimeZoneName | None, BlankIsNull]


class AddressFields(RequestModel):
    """A postal address; it also tells where the person is, and so their local time."""

    street: OptionalLine200 = None
    city: OptionalLine200 = None
    state: OptionalLine200 = None
    postal_code: OptionalLine200 = None
    country: OptionalLine200 = None


class ContactCreate(RequestModel):
    """A new contact."""

    phone: Annotated[PhoneNumber, Field(description="Any usual way to write a US number.")]
    first_name: OptionalLine200 = None
    last_name: OptionalLine200 = None
    email: Email = None
    company: OptionalLine200 = None
    address: AddressFields | None = None
    timezone: OptionalZone = None
    tags: Tags = Field(default_factory=list)
    attributes: Attributes = Field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Return the values by column."""
        values = self.model_dump(exclude={"address"})
        return values | (self.address or AddressFields()).model_dump()


class ContactUpdate(RequestModel):
    """What changes; a field left out stays, an explicit null clears it.

    ``address`` and ``attributes`` are merged: a member left out stays, a null removes it.
    """

    phone: PhoneNumber = ""
    first_name: OptionalLine200 = None
    last_name: OptionalLine200 = None
    email: Email = None
    company: OptionalLine200 = None
    address: AddressFields | None = None
    timezone: OptionalZone = None
    tags: Tags = Field(default_factory=list)
    attributes: Annotated[JsonObject | None, Field(description="Merged; null removes.")] = None

    @field_validator("attributes")
    @classmethod
    def _check(cls, attributes: JsonObject | None) -> JsonObject | None:
        return attributes if attributes is None else check_attributes(attributes)

    def columns(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns whose value differs from the contact's.

        Raises:
            PydanticCustomError: The merged attributes exceed the limits.
        """
        values = self.model_dump(exclude={"address", "attributes"}, exclude_unset=True)
        if "address" in self.model_fields_set:
            values |= (
                dict.fromkeys(ADDRESS_FIELDS)
                if self.address is None
                else self.address.model_dump(exclude_unset=True)
            )
        if "attributes" in self.model_fields_set:
            values["attributes"] = self._merged(stored["attributes"])
        return {name: value for name, value in values.items() if stored[name] != value}

    def _merged(self, attributes: JsonObject) -> JsonObject:
        if self.attributes is None:
            return {}
        merged = attributes | self.attributes
        return check_attributes(
            {name: value for name, value in merged.items() if value is not None}
        )


@dataclass(frozen=True)
class FlaggedContact:
    """A contact with the flags that stand on its number now, and its line type if known."""

    contact: Contact
    flags: list[str]
    line_type: LineType | None


class AddressRead(ReadModel):
    """A postal address."""

    street: str | None
    city: str | None
    state: str | None
    postal_code: str | None
    country: str | None


class ContactRead(ReadModel):
    """A contact, with the flags that stand on its number now."""

    id: Id
    phone: str
    first_name: str | None
    last_name: str | None
    email: str | None
    company: str | None
    address: AddressRead
    timezone: str | None
    tags: list[str]
    attributes: JsonObject
    opted_out: bool
    flags: list[str]
    line_type: LineType | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: FlaggedContact) -> Self:
        """Shape a contact."""
        stored = vars(found.contact) | {"line_type": found.line_type}
        return cls.of_columns(stored, found.flags)

    @classmethod
    def of_columns(cls, stored: Mapping[str, Any], flags: list[str]) -> Self:
        """Shape a contact that is known by its columns."""
        names = cls.model_fields.keys() & stored.keys()
        return cls(
            **{name: stored[name] for name in names},
            address=AddressRead(**{name: stored[name] for name in ADDRESS_FIELDS}),
            opted_out=FlagType.OPTED_OUT in flags,
            flags=flags,
        )


class ContactSort(StrEnum):
    """The order of a list of contacts; those alike are in the order of their ids."""

    CREATED = "created_at"
    NEWEST = "-created_at"
    NAME = "name"
    NAME_BACKWARDS = "-name"
    UPDATED = "updated_at"
    LAST_UPDATED = "-updated_at"


@dataclass(frozen=True, kw_only=True)
class ContactFilter:
    """Which contacts a list shows; all that is given must hold.

    Attributes:
        q: Any part of name, phone, e-mail or company; several words must all occur, and those of
            one or two letters begin a word.
        phone: One number in E.164.
        state: A code or a name.
        city: All of it; accents and capitals make no difference.
        created_after: Exclusive, and so are the others.
    """

    q: str = ""
    phone: str | None = None
    tag: str | None = None
    list_id: UUID | None = None
    opted_out: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    state: str | None = None
    city: str | None = None
    has_email: bool | None = None
    flag: str | None = None


def _read_flag(name: str) -> str:
    cleaned = clean_line(name)
    if not 1 <= len(cleaned) <= MAX_TAG_LENGTH or "/" in cleaned:
        raise PydanticCustomError(
            "flag_name",
            "A flag's name has 1 to {limit} characters and no slash.",
            {"limit": MAX_TAG_LENGTH},
        )
    # ``Opted Out`` must not become a free flag that looks like an opt-out and stops nothing.
    known = cleaned.casefold().replace(" ", "_").replace("-", "_")
    return known if known in set(FlagType) else cleaned


FlagName = Annotated[str, AfterValidator(_read_flag)]


class FlagCreate(RequestModel):
    """A flag for the contact's number."""

    flag: FlagName
    reason: OptionalLine200 = None
    expires_at: RequestInstant | None = None
