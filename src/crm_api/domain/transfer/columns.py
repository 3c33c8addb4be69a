"""The names that users give to columns, lower-case and without spaces or signs."""

_SYNONYMS = {
    "first_name": "firstname fname first givenname given forename firstnames",
    "last_name": "lastname lname last surname familyname lastnames",
    "name": "name fullname contactname contact ownername owner customername customer clientname "
    "client displayname person agentname agent homeowner",
    "email": "email emailaddress mail primaryemail email1 emailaddress1 workemail personalemail "
    "contactemail",
    "company": "company companyname organization organisation business businessname brokerage "
    "office employer firm officename",
    "street": "street streetaddress address1 addressline1 mailingaddress mailaddress "
    "propertyaddress street1 homeaddress",
    "city": "city town mailcity mailingcity propertycity municipality",
    "state": "state province region statecode mailstate mailingstate propertystate stateprovince",
    "postal_code": "zip zipcode postalcode postcode postal mailzip mailingzip propertyzip zip5 "
    "zippostalcode",
    "country": "country countrycode mailcountry",
    "address": "address fulladdress location1 addressfull",
    "timezone": "timezone tz timezonename",
    "tags": "tags tag labels label groups",
}
BY_NAME = {name: target for target, names in _SYNONYMS.items() for name in names.split()}
"""Field by a column's name."""

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
"""In the order in which a number is taken: a mobile phone first, a desk last."""

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
"""Two people a row; the mail address is theirs, the rest describes the property."""

_PROPERTY_RADAR_SIGNS = """
primaryname primarymobilephone1 primaryemail1 secondaryname secondarymobilephone1 mailaddress
mailzip owneroccupied ownerocc apn estvalue estequity yrbuilt
"""
EXPORT_SIGNS = frozenset({"id", "opted_out", "opted_out_at", "do_not_contact", "created_at"})
"""Columns that every file has which this service wrote itself; raw, and all of them."""
NOT_READ_BACK = EXPORT_SIGNS | {
    *("lists", "opt_out_reason", "opt_out_hold", "flags", "source", "updated_at"),
}
"""What an import decides itself, or never changes."""

PROPERTY_RADAR_SIGNS = frozenset(_PROPERTY_RADAR_SIGNS.split())
"""Of these a PropertyRadar file has at least four."""
