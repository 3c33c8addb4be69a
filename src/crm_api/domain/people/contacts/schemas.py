"""Request and response models of contacts."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    EmailStr,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from crm_api.domain.consent.models import FlagType
from crm_api.domain.kit.contact_columns import ADDRESS_COLUMNS
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import (
    BlankIsNull,
    OptionalLine200,
    PhoneNumber,
    RequestInstant,
    TimeZoneName,
    read_line,
    refuse_nul,
)
from crm_api.domain.kit.schemas import Id, Instant, JsonObject, ReadModel, RequestModel
from crm_api.domain.kit.zones import has_known_states, state_code
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.phone_validation import LineType

MAX_TAGS = 50
MAX_TAG_LENGTH = 64
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_NAME = 64
MAX_ATTRIBUTES_BYTES = 16 * 1024
MAX_ATTRIBUTE_DEPTH = 8


def _read_tags(tags: list[str]) -> list[str]:
    cleaned = [read_line(tag) for tag in tags]
    if any(not 1 <= len(tag) <= MAX_TAG_LENGTH for tag in cleaned):
        raise PydanticCustomError(
            "tag_length", "A tag must have 1 to {limit} characters.", {"limit": MAX_TAG_LENGTH}
        )
    unique = list(dict.fromkeys(cleaned))
    if len(unique) > MAX_TAGS:
        raise PydanticCustomError(
            "too_many_tags", "Give at most {limit} tags.", {"limit": MAX_TAGS}
        )
    return unique


def check_attributes(attributes: JsonObject) -> JsonObject:
    """Return the attributes unchanged if they can be stored.

    Raises:
        PydanticCustomError: The attributes are too many, too large, nested too deeply, or contain a
            value that cannot be stored as JSON.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise PydanticCustomError(
            "too_many_attributes", "Give at most {limit} attributes.", {"limit": MAX_ATTRIBUTES}
        )
    if any(not 1 <= len(name) <= MAX_ATTRIBUTE_NAME for name in attributes):
        raise PydanticCustomError(
            "attribute_name",
            "The name of an attribute must have 1 to {limit} characters.",
            {"limit": MAX_ATTRIBUTE_NAME},
        )
    _check_json(attributes, depth=0)
    size = len(json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_ATTRIBUTES_BYTES:
        raise PydanticCustomError(
            "attributes_too_large",
            "The attributes take {size} bytes as JSON. At most {limit} are allowed.",
            {"size": size, "limit": MAX_ATTRIBUTES_BYTES},
        )
    return attributes


def _check_json(value: Any, *, depth: int) -> None:  # noqa: ANN401 - any JSON value
    if depth > MAX_ATTRIBUTE_DEPTH:
        raise PydanticCustomError(
            "too_deep",
            "The attributes are nested too deeply. At most {limit} levels are allowed.",
            {"limit": MAX_ATTRIBUTE_DEPTH},
        )
    if isinstance(value, dict):
        _check_all(value, depth=depth)
        _check_all(value.values(), depth=depth)
    elif isinstance(value, list):
        _check_all(value, depth=depth)
    elif isinstance(value, str):
        refuse_nul(value)
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise PydanticCustomError(
                "not_unicode",
                "The string has an unpaired surrogate, so it is not valid Unicode. Remove the "
                "surrogate.",
            )
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError(
            "not_finite", "NaN and Infinity are not valid in JSON. Give a number or null."
        )


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
    """A postal address. The state and the postal code also decide the contact's local time."""

    country: OptionalLine200 = Field(
        default=None,
        description="The country. If it is left out, the address is in the US or Canada.",
    )
    street: OptionalLine200 = None
    city: OptionalLine200 = None
    state: OptionalLine200 = Field(
        default=None,
        description="The state, province or territory. In the US and Canada, give its code, name "
        "or usual abbreviation; the code is stored. For another `country`, any text is accepted.",
    )
    postal_code: OptionalLine200 = None

    @field_validator("state", mode="after")
    @classmethod
    def _to_code(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None or not has_known_states(info.data.get("country")):
            return text
        code = state_code(text)
        if code is None:
            raise PydanticCustomError(
                "unknown_state",
                "Give a state, province or territory of the US or Canada by its code, such as TX. "
                "If the address is in another country, also give `country`.",
            )
        return code


class ContactCreate(RequestModel):
    """A new contact.

    Attributes:
        company: The company of the contact.
        tags: The tags of the contact, at most 50.
    """

    model_config = example(
        phone="(617) 555-0123",
        first_name="Ada",
        last_name="Rossi",
        email="ada.rossi@example.com",
        address={"street": "12 Main Street", "city": "Quincy", "state": "MA"},
        tags=["homeowner"],
        attributes={"year_built": 1928},
    )

    phone: Annotated[
        PhoneNumber,
        Field(description="The phone number, in any format that is usual in the US or Canada."),
    ]
    first_name: OptionalLine200 = None
    last_name: OptionalLine200 = None
    email: Email = None
    company: OptionalLine200 = None
    address: AddressFields | None = None
    timezone: OptionalZone = None
    tags: Tags = Field(default_factory=list)
    attributes: Attributes = Field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Return the values of the new contact, by name of the column in the table ``contact``."""
        values = self.model_dump(exclude={"address"})
        return values | (self.address or AddressFields()).model_dump()


class ContactUpdate(RequestModel):
    """The fields of a contact to change. A field that is left out does not change; null clears it.

    ``address`` and ``attributes`` are merged with the stored values. In them, null removes an
    entry.

    Attributes:
        phone: The new phone number, in any usual US or Canadian format.
        company: The company of the contact.
        tags: The tags of the contact, at most 50. They replace all stored tags.
    """

    model_config = example(company="Rossi Realty", attributes={"roof": "slate"})

    phone: PhoneNumber = ""
    first_name: OptionalLine200 = None
    last_name: OptionalLine200 = None
    email: Email = None
    company: OptionalLine200 = None
    address: AddressFields | None = None
    timezone: OptionalZone = None
    tags: Tags = Field(default_factory=list)
    attributes: Annotated[
        JsonObject | None,
        Field(
            description="Further values by name. They are merged with the stored attributes. A "
            "value of null removes the attribute."
        ),
    ] = None

    @field_validator("attributes")
    @classmethod
    def _check(cls, attributes: JsonObject | None) -> JsonObject | None:
        return attributes if attributes is None else check_attributes(attributes)

    def columns(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values to change in the table ``contact``, by column name.

        A value that is already stored is left out.

        Args:
            stored: The stored values, by column name.

        Raises:
            PydanticCustomError: The stored and the new attributes together exceed the limits.
        """
        values = self.model_dump(exclude={"address", "attributes"}, exclude_unset=True)
        if "address" in self.model_fields_set:
            values |= (
                dict.fromkeys(ADDRESS_COLUMNS)
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
    """A contact, with the active flags and the line type of its phone number.

    The line type is None if it is not known.
    """

    contact: Contact
    flags: list[str]
    line_type: LineType | None


class AddressRead(ReadModel):
    """A postal address.

    Attributes:
        country: The country. If it is null, the address is in the US or Canada.
    """

    street: str | None
    city: str | None
    state: str | None
    postal_code: str | None
    country: str | None


class ContactRead(ReadModel):
    """A contact, with the active flags of its phone number.

    Attributes:
        company: The company of the contact.
        tags: The tags of the contact.
        opted_out: True if the number is opted out of messages.
        flags: The names of the active flags.
        line_type: The type of the phone line; null if unknown.
    """

    model_config = example(tags=["homeowner"], attributes={"year_built": 1928, "roof": "slate"})

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
        """Build the response from a contact with its flags."""
        stored = vars(found.contact) | {"line_type": found.line_type}
        return cls.of_columns(stored, found.flags)

    @classmethod
    def of_columns(cls, stored: Mapping[str, Any], flags: list[str]) -> Self:
        """Build the response from the columns of a contact and the flags of its phone number."""
        names = cls.model_fields.keys() & stored.keys()
        return cls(
            **{name: stored[name] for name in names},
            address=AddressRead(**{name: stored[name] for name in ADDRESS_COLUMNS}),
            opted_out=FlagType.OPTED_OUT in flags,
            flags=flags,
        )


class ContactSort(StrEnum):
    """The order of a list of contacts. Contacts that are equal in this order are ordered by id."""

    CREATED = "created_at"
    NEWEST = "-created_at"
    NAME = "name"
    NAME_BACKWARDS = "-name"
    UPDATED = "updated_at"
    LAST_UPDATED = "-updated_at"


@dataclass(frozen=True, kw_only=True)
class ContactFilter:
    """The conditions for contacts in a list. A contact must meet all conditions that are given.

    ``created_after``, ``created_before`` and ``updated_after`` are exclusive.

    Attributes:
        q: Words that must all occur in the name, number, e-mail or company. A word of one or two
            letters matches only the beginning of a word.
        phone: One number in E.164.
        state: The code or name of a state.
        city: The whole name of a city. Accents and capitals are ignored.
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
    cleaned = read_line(name)
    if not 1 <= len(cleaned) <= MAX_TAG_LENGTH or "/" in cleaned:
        raise PydanticCustomError(
            "flag_name",
            "The name of a flag must have 1 to {limit} characters and no slash.",
            {"limit": MAX_TAG_LENGTH},
        )
    # A custom flag with the name ``Opted Out`` would not stop messages. So this name is stored as
    # the built-in flag ``opted_out``.
    known = cleaned.casefold().replace(" ", "_").replace("-", "_")
    return known if known in set(FlagType) else cleaned


FlagName = Annotated[str, AfterValidator(_read_flag)]


class FlagCreate(RequestModel):
    """A flag to set on the contact's phone number.

    Attributes:
        reason: Why the flag is set; null if no reason is given.
    """

    model_config = example(flag="office_number", reason="front desk of a clinic")

    flag: FlagName
    reason: OptionalLine200 = None
    expires_at: RequestInstant | None = None
