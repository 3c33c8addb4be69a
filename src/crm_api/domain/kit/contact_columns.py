"""The text columns of a contact, in one list that every part of the service reads.

Import, export, merges, erasure, segments and the API handle all columns of this list. The fields of
``ContactColumn`` describe the differences between the columns.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ContactColumn:
    """A text column of the table ``contact``; NULL means that the value is not known.

    Attributes:
        name: The name in the table, the API, exports and the rules of segments.
        file_names: The titles in imported files, separated by spaces. A title is in lower case,
            without spaces and punctuation.
        is_address: Whether the column is a part of the address. A merge takes all parts from one
            contact.
        is_own: Whether the value belongs to one person only. If an imported row is about two
            people, only the first person gets the value.
        is_in_messages: Whether the body of a message may use the column as a variable.
    """

    name: str
    example: str
    file_names: str
    is_address: bool = False
    is_own: bool = False
    is_in_messages: bool = True


CONTACT_COLUMNS = (
    ContactColumn(
        name="first_name",
        example="Ada",
        file_names="firstname fname first givenname given forename firstnames",
        is_own=True,
    ),
    ContactColumn(
        name="last_name",
        example="Rossi",
        file_names="lastname lname last surname familyname lastnames",
        is_own=True,
    ),
    ContactColumn(
        name="email",
        example="ada.rossi@example.com",
        file_names="email emailaddress mail primaryemail email1 emailaddress1 workemail "
        "personalemail contactemail",
        is_own=True,
    ),
    ContactColumn(
        name="company",
        example="Rossi Realty",
        file_names="company companyname organization organisation business businessname brokerage "
        "office employer firm officename",
        is_own=True,
    ),
    ContactColumn(
        name="street",
        example="12 Main Street",
        file_names="street streetaddress address1 addressline1 mailingaddress mailaddress "
        "propertyaddress street1 homeaddress",
        is_address=True,
    ),
    ContactColumn(
        name="city",
        example="Quincy",
        file_names="city town mailcity mailingcity propertycity municipality",
        is_address=True,
    ),
    ContactColumn(
        name="state",
        example="MA",
        file_names="state province region statecode mailstate mailingstate propertystate "
        "stateprovince",
        is_address=True,
    ),
    ContactColumn(
        name="postal_code",
        example="02169",
        file_names="zip zipcode postalcode postcode postal mailzip mailingzip propertyzip zip5 "
        "zippostalcode",
        is_address=True,
    ),
    ContactColumn(
        name="country",
        example="US",
        file_names="country countrycode mailcountry",
        is_address=True,
        is_in_messages=False,
    ),
    ContactColumn(
        name="timezone",
        example="America/New_York",
        file_names="timezone tz timezonename",
        is_in_messages=False,
    ),
)

TEXT_COLUMNS = tuple(column.name for column in CONTACT_COLUMNS)
ADDRESS_COLUMNS = tuple(column.name for column in CONTACT_COLUMNS if column.is_address)
PLAIN_COLUMNS = tuple(column.name for column in CONTACT_COLUMNS if not column.is_address)
"""The text columns of a contact that are not part of the address. When two contacts are merged, the
value of each of these columns is chosen separately."""
MESSAGE_COLUMNS = tuple(column.name for column in CONTACT_COLUMNS if column.is_in_messages)
"""The text columns of a contact that the body of a message may use as variables."""


@dataclass(frozen=True, slots=True)
class ContactValues:
    """The values of a contact that the body of a message may use as variables."""

    phone: str
    first_name: str | None
    last_name: str | None
    email: str | None
    company: str | None
    street: str | None
    city: str | None
    state: str | None
    postal_code: str | None
    attributes: dict[str, Any] | None
