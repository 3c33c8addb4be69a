"""Columns of a file are mapped to fields by their names and values."""

import pytest

from crm_api.domain.imports.contacts.errors import InvalidMappingError
from crm_api.domain.imports.contacts.formats import detect_format, slug
from crm_api.domain.imports.files.errors import NoPhoneColumnError

PROPERTY_COLUMNS = (
    "Type,Address,City,ZIP,APN,Est Value,Est Equity $,Owner,Mail Address,Mail City,Mail State,"
    "Mail ZIP,Est Equity %,Primary Name,Primary Mobile Phone1,Primary Email1,Primary Email1 Hash,"
    "Secondary Name,Secondary Mobile Phone1"
)
PROPERTY_HEADER = PROPERTY_COLUMNS.split(",")


def fields(header: str, *rows: str) -> dict[str, str | None]:
    return detect_format(header.split(","), [row.split(",") for row in rows]).mapping


def kind(header: str, *rows: str) -> str:
    return detect_format(header.split(","), [row.split(",") for row in rows]).format_name


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("phone,first_name,last_name,email", "standard"),
        ("First name,Last name,Company,Role,Phone number,Email,Address,Notes", "openphone"),
        ("First Name,Last Name,Phone,Company", "realtor"),
        ("First Name,Last Name,Email,Phone", "realtor"),
        ("first_name,last_name,phone_number_1,phone_number_2,email", "twophones"),
        ("First_name,Last_name,Cell,Title,City,Company", "cell"),
        ("name,phone_number,status,message_sent_at,openphone_message_id", "campaign_history"),
        ("Who,Mobile", "generic"),
    ],
)
def test_kind_is_recognised_by_the_header(header: str, expected: str) -> None:
    assert kind(header) == expected


@pytest.mark.parametrize(
    "column",
    ["phone", "Phone", "PHONE NUMBER", "Mobile", "cell phone", "Cell_Phone", "Tel", "telephone"],
)
def test_usual_phone_column_names_are_recognised(column: str) -> None:
    assert fields(f"name,{column}")[column] == "phone"


def test_mobile_number_comes_before_home_and_work_numbers() -> None:
    row = "6175550101,6175550102,6175550103"

    assert fields("Work Phone,Home Phone,Mobile Phone", row) == {
        "Mobile Phone": "phone",
        "Home Phone": "phone_2",
        "Work Phone": "phone_3",
    }


def test_column_with_numbers_replaces_a_phone_column_without_numbers() -> None:
    assert fields("Phone,Cell", "yes,617-555-0101", "no,617-555-0102")["Cell"] == "phone"
    assert fields("Phone,xyz", "yes,617-555-0101", "no,617-555-0102")["xyz"] == "phone"


def test_columns_without_meaningful_names_are_recognised_by_values() -> None:
    found = detect_format(
        ["mb-2", "lastname", "css-1dp0fhs-no-styles-2", "css-9"],
        [
            ["Ada", "Rossi", "M: 617-555-0101", "ada@example.com"],
            ["Anne-Marie", "O'Brien", "M: (617) 555-0102", "anne@example.com"],
        ],
    )

    assert found.format_name == "scraped"
    assert found.mapping == {
        "mb-2": "first_name",
        "lastname": "last_name",
        "css-1dp0fhs-no-styles-2": "phone",
        "css-9": "email",
    }
    assert len(found.notes) == 3


def test_file_without_header_is_recognised_by_its_values() -> None:
    assert fields("column_1,column_2", "Ada Rossi,6175550101", "Leo Kim,6175550102") == {
        "column_1": "name",
        "column_2": "phone",
    }


def test_unknown_columns_become_attributes() -> None:
    found = fields("phone,Roof Age (yrs),Est %,Est $,Notes")

    assert found["Roof Age (yrs)"] == "attributes.roof_age_yrs"
    assert found["Est %"] == "attributes.est_percent"
    assert found["Est $"] == "attributes.est"


def test_columns_with_the_same_slug_become_separate_attributes() -> None:
    found = fields("phone,Note!,Note?")

    assert [found["Note!"], found["Note?"]] == ["attributes.note", "attributes.note_2"]


def test_address_column_is_the_street_if_there_is_a_city_column() -> None:
    assert fields("phone,address,city")["address"] == "street"
    assert fields("phone,address")["address"] == "address"


def test_property_file_has_columns_for_two_people_and_a_property() -> None:
    found = detect_format(PROPERTY_HEADER, [])

    assert found.format_name == "propertyradar"
    assert found.mapping["Primary Name"] == "name"
    assert found.mapping["Secondary Mobile Phone1"] == "second.phone"
    assert found.mapping["Mail Address"] == "street"
    assert found.mapping["Address"] == "attributes.property_address"
    assert found.mapping["Est Equity $"] == "attributes.est_equity"
    assert found.mapping["Est Equity %"] == "attributes.est_equity_percent"
    assert found.mapping["Primary Email1 Hash"] is None


def test_mapping_of_the_user_overrides_the_detected_one() -> None:
    found = detect_format(
        ["phone", "other", "junk"], [], {"other": "phone", "phone": "phone_2", "junk": None}
    )

    assert found.mapping == {"phone": "phone_2", "other": "phone", "junk": None}


def test_field_that_the_user_chose_is_not_given_to_a_known_column_of_a_property_file() -> None:
    found = detect_format([*PROPERTY_HEADER, "Other Number"], [], {"Other Number": "phone"}).mapping

    assert [column for column, field in found.items() if field == "phone"] == ["Other Number"]


@pytest.mark.parametrize("chosen", [None, "attributes.backup"])
def test_phone_column_that_the_user_left_out_gets_no_phone_field(chosen: str | None) -> None:
    found = detect_format(
        ["First Name", "Reach", "Backup"],
        [["Ada", "617-555-0101", "617-555-0102"], ["Leo", "617-555-0103", "617-555-0104"]],
        {"Backup": chosen},
    )

    assert found.mapping == {"First Name": "first_name", "Reach": "phone", "Backup": chosen}


@pytest.mark.parametrize(
    ("mapping", "code", "pointer"),
    [
        ({"nope": "phone"}, "unknown_column", "/mapping/nope"),
        ({"a/b": "telefon"}, "unknown_field", "/mapping/a~1b"),
        ({"phone": "email", "a/b": "email"}, "field_twice", "/mapping/a~1b"),
        ({"phone": "attributes.No Slug"}, "unknown_field", "/mapping/phone"),
    ],
)
def test_invalid_mapping_is_refused(
    mapping: dict[str, str | None], code: str, pointer: str
) -> None:
    with pytest.raises(InvalidMappingError) as caught:
        detect_format(["phone", "a/b"], [], mapping)

    assert [(fault.code, fault.pointer) for fault in caught.value.errors] == [(code, pointer)]


def test_file_without_numbers_is_refused_naming_its_columns() -> None:
    with pytest.raises(NoPhoneColumnError, match="“house”"):
        detect_format(["name", "house"], [["Ada", "12"]])


def test_slug_of_punctuation_alone_is_column() -> None:
    assert slug("???") == "column"
