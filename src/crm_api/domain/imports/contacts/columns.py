"""Recognise the columns of a contact file by their names and by their values.

The names of columns are compared in lower case, without spaces and punctuation. So the constants
contain ``firstname`` for ``First Name``. If a constant has names in another form, its comment says
so.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from crm_api.domain.imports.contacts.opt_outs import CONSENT_FIELDS, is_yes_or_no
from crm_api.domain.kit.contact_columns import CONTACT_COLUMNS
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone, split_numbers
from crm_api.domain.kit.zones import is_time_zone, state_code

_SYNONYMS = {
    **{column.name: column.file_names for column in CONTACT_COLUMNS},
    "name": "name fullname contactname contact ownername owner customername customer clientname "
    "client displayname person agentname agent homeowner",
    "address": "address fulladdress location1 addressfull",
    "tags": "tags tag labels label groups",
}

BY_NAME = {name: target for target, names in _SYNONYMS.items() for name in names.split()}
"""The field for each known column name."""

_PHONE_NAMES = """
mobile mobilephone mobilenumber mobilephonenumber cell cellphone cellnumber cellphonenumber
cellular mobilephone1 cellphone1 mobile1 cell1 primarymobile
phone phonenumber phoneno phonenum telephone telephonenumber tel telno number contactnumber
primaryphone phone1 phonenumber1 mainphone msisdn sms text textnumber
contactphone contactphonenumber e164
phone2 phonenumber2 mobilephone2 mobile2 cell2 cellphone2 secondaryphone alternatephone altphone
otherphone phone3 phonenumber3 homephone hometelephone homenumber home
workphone worknumber businessphone officephone directphone direct daytimephone eveningphone
"""

PHONE_RANK = {name: rank for rank, name in enumerate(_PHONE_NAMES.split())}
"""The rank of each known name of a phone column: mobile phones first, desk phones last."""

PROPERTY_RADAR: dict[str, str | None] = {
    "primaryname": "name",
    "primaryfirstname": "first_name",
    "primarylastname": "last_name",
    "primarymobilephone1": "phone",
    "primarymobilephone2": "phone_2",
    "primaryemail1": "email",
    "primarymobile1status": "attributes.phone_status",
    "primaryemail1status": "attributes.email_status",
    "primaryemail1hash": None,
    "secondaryname": "second.name",
    "secondaryfirstname": "second.first_name",
    "secondarylastname": "second.last_name",
    "secondarymobilephone1": "second.phone",
    "secondarymobilephone2": "second.phone_2",
    "secondaryemail1": "second.email",
    "secondarymobile1status": "second.attributes.phone_status",
    "secondaryemail1status": "second.attributes.email_status",
    "secondaryemail1hash": None,
    "mailaddress": "street",
    "mailcity": "city",
    "mailstate": "state",
    "mailzip": "postal_code",
    "type": "attributes.property_type",
    "address": "attributes.property_address",
    "city": "attributes.property_city",
    "state": "attributes.property_state",
    "zip": "attributes.property_zip",
    "owner": "attributes.owner",
}
"""The field for each column of a PropertyRadar file.

A row describes one property and up to two people. The columns that begin with ``primary``,
``secondary`` or ``mail`` describe the people (``mail``: their postal address). The other columns
describe the property.
"""

NOT_READ_BACK = {
    *("id", "created_at", "updated_at", "lists", "source", "flags"),
    *("opted_out_at", "opt_out_reason", "opt_out_hold"),
}
"""Columns of an export that an import ignores.

The import sets the values of these columns itself, or never changes them. The column ``opted_out``
is imported, because it can only stop messages.
"""

EXPORT_SIGNS = frozenset({"id", "opted_out", "opted_out_at", "do_not_contact", "created_at"})
"""Column names, exactly as written, that every export of this service contains."""

PROPERTY_RADAR_SIGNS = frozenset(
    {
        *("primaryname", "primarymobilephone1", "primaryemail1", "secondaryname", "mailaddress"),
        *("secondarymobilephone1", "mailzip", "owneroccupied", "ownerocc", "apn", "estvalue"),
        *("estequity", "yrbuilt"),
    }
)
"""A PropertyRadar file has at least four of these columns."""


_EMAIL_VALUE = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_NAME_VALUE = re.compile(r"^[^\W\d_][^\d@_/]{0,40}$")
_POSTAL_VALUE = re.compile(r"^(?:\d{3,5}(?:\.0)?|\d{5}-\d{4}|[A-Za-z]\d[A-Za-z] ?\d[A-Za-z]\d)$")
_SURE, _DOUBTFUL = 0.9, 0.5
_EXAMPLES = 2
_MAX_EXAMPLE = 60


class ColumnBasis(StrEnum):
    """How the service found out which contact field a column of an imported file contains.

    For example, ``NAME`` means that the service used the name of the column, and ``FORMAT`` means
    that it recognised the file format.
    """

    USER = "user"
    FORMAT = "format"
    NAME = "name"
    VALUES = "values"
    NOTHING = "nothing"
    """No field was found, so the column becomes an attribute with the name of the column."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnGuess:
    """The contact field that the service found for one column of an imported file.

    Attributes:
        field: The field; None if the column is left out.
        confidence: ``high``, ``medium`` or ``low``.
        fits: The percentage of the sample values that look like the field. None if the field has no
            typical form, or if all sample values are blank.
        examples: The first two values that are not blank.
    """

    column: str
    field: str | None
    confidence: str
    told_by: ColumnBasis
    fits: int | None = None
    examples: list[str] = dataclasses.field(default_factory=list)


def rate_column(
    column: str, target: str | None, told_by: ColumnBasis, values: Sequence[str]
) -> ColumnGuess:
    """Rate how well the values of a column fit the contact field that was found for the column.

    The rating depends on the share of fitting values and on how the field was found.

    Args:
        values: The column's values in the first rows of the file, including blank values.
    """
    filled = [value.strip() for value in values if value.strip()]
    plain = (target or "").removeprefix("second.")
    test = is_yes_or_no(column) if plain in CONSENT_FIELDS else _TESTS.get(plain)
    fits = share(filled, test) if test is not None and filled else None
    return ColumnGuess(
        column=column,
        field=target,
        confidence=_confidence(told_by, fits),
        told_by=told_by,
        fits=None if fits is None else round(100 * fits),
        examples=[value[:_MAX_EXAMPLE] for value in filled[:_EXAMPLES]],
    )


def share(filled: Sequence[str], test: Callable[[str], bool]) -> float:
    """Return the share of values for which ``test`` returns True, from 0 to 1.

    The result is 0 if there are no values.
    """
    return sum(1 for value in filled if test(value)) / len(filled) if filled else 0.0


def is_phone(value: str) -> bool:
    """Return whether a value contains a phone number."""
    try:
        parse_phone(split_numbers(value)[0])
    except InvalidPhoneError:
        return False
    return True


def is_email(value: str) -> bool:
    """Return whether a value looks like an e-mail address."""
    return bool(_EMAIL_VALUE.match(value))


def is_name(value: str) -> bool:
    """Return whether a value looks like a person's name."""
    return bool(_NAME_VALUE.match(value))


def _confidence(told_by: ColumnBasis, fits: float | None) -> str:
    if told_by is ColumnBasis.USER:
        return "high"
    if fits is not None and fits < _DOUBTFUL:
        return "low"
    if told_by is ColumnBasis.VALUES:
        return "medium" if fits is not None and fits >= _SURE else "low"
    if told_by is ColumnBasis.NAME and fits is not None and fits < _SURE:
        return "medium"
    return "high"


_TESTS: Mapping[str, Callable[[str], bool]] = {
    **dict.fromkeys(("phone", "phone_2", "phone_3", "phone_4"), is_phone),
    **dict.fromkeys(("first_name", "last_name"), is_name),
    "email": is_email,
    "state": lambda value: state_code(value) is not None,
    "postal_code": lambda value: bool(_POSTAL_VALUE.match(value)),
    "timezone": is_time_zone,
}
"""How to test a value, by field. The values of other fields have no typical form."""


MAJORITY = 0.5


HARDLY_ANY = 0.1


_LOCAL_DIGITS = 7


def map_by_value(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    mapping: dict[str, str | None],
    notes: list[str],
) -> None:
    """Find an e-mail column and a name column by their values, and add them to ``mapping``.

    Only columns that ``mapping`` does not contain yet are checked. For each column that is found, a
    sentence for the user is added to ``notes``.
    """
    positions = {name: position for position, name in enumerate(header) if name not in mapping}
    for name, position in positions.items():
        if "email" not in mapping.values() and share_at(sample, position, is_email) >= MAJORITY:
            mapping[name] = "email"
            notes.append(f"The column “{name}” was recognised by its values: e-mail addresses.")
    mapped = set(mapping.values())
    if {"first_name", "name"} & mapped:
        return
    for name, position in positions.items():
        if name not in mapping and share_at(sample, position, is_name) >= 1 - HARDLY_ANY:
            mapping[name] = "first_name" if "last_name" in mapped else "name"
            notes.append(f"The column “{name}” was recognised by its values: names.")
            return


def share_at(sample: Sequence[Sequence[str]], position: int, test: Callable[[str], bool]) -> float:
    """Return the share of a column's values for which ``test`` returns True, from 0 to 1.

    Blank values are left out. The result is 0 if all values are blank.
    """
    values = [row[position].strip() for row in sample if position < len(row)]
    return share([value for value in values if value], test)


def has_no_phones(sample: Sequence[Sequence[str]], position: int) -> bool:
    """Return True if a column has values, but fewer than 10% of them have seven digits or more."""
    is_filled = share_at(sample, position, bool) > 0
    return is_filled and share_at(sample, position, _has_digits) < HARDLY_ANY


def _has_digits(value: str) -> bool:
    return sum(character.isdigit() for character in value) >= _LOCAL_DIGITS
