"""The column names that are known in contact files, and the field of each name.

A name is written without spaces, punctuation and capital letters, unless its constant says
otherwise.
"""

from crm_api.domain.kit.contact_columns import CONTACT_COLUMNS

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
"""Columns of an export that an import ignores. The import sets their values itself, or never
changes them.

``opted_out`` is read, because it can only stop messages.
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
