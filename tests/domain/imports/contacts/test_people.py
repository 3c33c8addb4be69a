"""A row of a file is read as people, and as problems that the import reports."""

from crm_api.domain.imports.contacts.formats import detect_format
from crm_api.domain.imports.contacts.people import RowReader
from crm_api.domain.imports.contacts.rows import PersonRow, RowProblem
from crm_api.domain.imports.files.reader import RawRow

PROPERTY = {
    "Type": "SFR",
    "Address": "12 Sea St",
    "City": "Quincy",
    "ZIP": "02169",
    "APN": "9",
    "Est Value": "$500,000",
    "Mail Address": "1 Elm St",
    "Mail City": "Miami",
    "Mail State": "FL",
    "Mail ZIP": "33101",
    "Primary Name": "ADA M ROSSI",
    "Primary Mobile Phone1": "617-555-0101",
    "Primary Mobile 1 Status": "Active",
    "Primary Email1": "ada@example.com",
    "Secondary Name": "Leo Rossi",
    "Secondary Mobile Phone1": "617-555-0102",
    "Secondary Mobile 1 Status": "Inactive",
    "Secondary Email1": "",
}


def read(row: dict[str, str]) -> tuple[list[PersonRow], list[RowProblem]]:
    header, values = list(row), list(row.values())
    result = RowReader(header, detect_format(header, [values]).mapping).read(RawRow(7, values))
    return result.people, result.problems


def person(row: dict[str, str]) -> PersonRow:
    people, _ = read(row)
    assert len(people) == 1
    return people[0]


def test_row_becomes_a_person() -> None:
    found = person(
        {
            "phone": "(617) 555-0101",
            "first_name": "  Zoë ",
            "last_name": "ROSSI",
            "email": "zoe@example.com",
            "company": "Granite  Homes",
            "address": "12 Sea St",
            "city": "Quincy",
            "state": "Massachusetts",
            "zip": "2169",
            "tags": "vip;spring",
            "notes": '=HYPERLINK("http://x.invalid")',
        }
    )

    assert found == PersonRow(
        line=7,
        phone="+16175550101",
        first_name="Zoë",
        last_name="Rossi",
        email="zoe@example.com",
        company="Granite Homes",
        street="12 Sea St",
        city="Quincy",
        state="MA",
        postal_code="02169",
        zone_key="MA/America/New_York",
        tags=["vip", "spring"],
        attributes={"notes": '=HYPERLINK("http://x.invalid")'},
    )


def test_second_number_becomes_an_attribute() -> None:
    found = person({"phone_number_1": "617-555-0101", "phone_number_2": "617-555-0102"})

    assert (found.phone, found.attributes) == ("+16175550101", {"phone_2": "+16175550102"})


def test_first_valid_number_becomes_the_number_of_the_contact() -> None:
    people, problems = read({"phone_number_1": "555-0101", "phone_number_2": "617-555-0102"})

    assert [found.phone for found in people] == ["+16175550102"]
    assert people[0].attributes == {}
    assert [(fault.column, fault.refuses) for fault in problems] == [("phone_number_1", False)]


def test_both_numbers_of_one_cell_are_kept() -> None:
    found = person({"phone": "617-555-0101 / 617-555-0102", "name": "Ada Rossi"})

    assert (found.phone, found.attributes["phone_2"]) == ("+16175550101", "+16175550102")


def test_extension_is_kept_as_an_attribute() -> None:
    assert person({"phone": "617-555-0101 x204"}).attributes == {"phone_extension": "204"}


def test_row_without_number_is_refused() -> None:
    people, problems = read({"phone_number_1": "", "phone_number_2": "", "first_name": "Ada"})

    assert people == []
    assert [(fault.code, fault.line, fault.column, fault.refuses) for fault in problems] == [
        ("no_phone", 7, "phone_number_1 / phone_number_2", True)
    ]


def test_invalid_number_is_refused_with_line_column_value_and_reason() -> None:
    _, problems = read({"phone": "call after 5", "first_name": "Ada"})

    assert problems == [
        RowProblem(
            line=7,
            column="phone",
            value="call after 5",
            code="invalid_phone",
            reason="The text contains no phone number.",
            refuses=True,
        )
    ]


def test_invalid_email_is_left_out_and_reported() -> None:
    people, problems = read({"phone": "6175550101", "email": "not-an-email"})

    assert people[0].email is None
    assert [(fault.code, fault.refuses) for fault in problems] == [("invalid_email", False)]


def test_time_zone_of_the_person_is_used_if_it_exists() -> None:
    people, problems = read({"phone": "6175550101", "timezone": "America/Denver"})
    assert people[0].zone_key == "MA/America/Denver"
    assert problems == []

    people, problems = read({"phone": "6175550101", "timezone": "EST5"})
    assert people[0].timezone is None
    assert [fault.code for fault in problems] == ["invalid_timezone"]


def test_overlong_values_are_left_out_and_reported() -> None:
    row = {"phone": "6175550101", "first_name": "x" * 300, "city": "y" * 300, "notes": "z" * 6000}

    people, problems = read(row)

    assert (people[0].first_name, people[0].city, people[0].attributes) == (None, None, {})
    assert sorted(str(fault.column) for fault in problems) == ["city", "first_name", "notes"]
    assert all(fault.value is not None and len(fault.value) <= 200 for fault in problems)


def test_attributes_that_are_too_large_together_are_reported() -> None:
    row = {"phone": "6175550101"} | {f"note {at}": "x" * 4_000 for at in range(4)}

    people, problems = read(row)

    assert sorted(people[0].attributes) == ["note_0", "note_1"]
    assert [fault.column for fault in problems] == ["note 2", "note 3"]


def test_tags_are_unique_and_an_overlong_one_is_reported() -> None:
    people, problems = read({"phone": "6175550101", "tags": f"vip,{'x' * 65}", "labels": "a"})

    assert people[0].tags == ["vip", "a"]
    assert [(fault.code, fault.column) for fault in problems] == [("too_long", "tags")]


def test_row_with_too_few_cells_is_accepted_and_surplus_cells_are_reported() -> None:
    reader = RowReader(["phone", "first_name"], {"phone": "phone", "first_name": "first_name"})

    assert reader.read(RawRow(2, ["6175550101"])).people[0].first_name is None
    surplus = reader.read(RawRow(3, ["6175550101", "Ada", "x", "y"]))
    assert [fault.code for fault in surplus.problems] == ["surplus_values"]
    assert len(surplus.people) == 1
    assert reader.read(RawRow(4, ["6175550101", "Ada", "", ""])).problems == []


def test_repeated_header_and_unreadable_row_are_refused() -> None:
    reader = RowReader(["Phone"], {"Phone": "phone"})

    assert reader.read(RawRow(5, ["phone"])).problems[0].code == "repeated_header"
    assert reader.read(RawRow(6, [], "A quote.")).problems[0].code == "unreadable_row"


def test_property_row_gives_two_people_with_the_mail_address() -> None:
    people, problems = read(PROPERTY)

    assert problems == []
    assert [(found.phone, found.first_name, found.last_name) for found in people] == [
        ("+16175550101", "Ada", "Rossi"),
        ("+16175550102", "Leo", "Rossi"),
    ]
    first, second = people
    assert {found.street for found in people} == {"1 Elm St"}
    assert {found.attributes["property_address"] for found in people} == {"12 Sea St"}
    assert first.zone_key == "FL,MA/America/New_York"
    assert (first.email, second.email) == ("ada@example.com", None)
    assert first.attributes["middle_name"] == "M"
    assert first.attributes["est_value"] == "$500,000"
    assert [found.attributes["phone_status"] for found in people] == ["Active", "Inactive"]
    assert [found.attributes["owner_role"] for found in people] == ["primary", "secondary"]


def test_property_person_without_number_is_not_an_error() -> None:
    people, problems = read({**PROPERTY, "Primary Mobile Phone1": ""})
    assert [found.first_name for found in people] == ["Leo"]
    assert problems == []

    people, problems = read(
        {**PROPERTY, "Primary Mobile Phone1": "", "Secondary Mobile Phone1": ""}
    )
    assert (people, problems) == ([], [])


def test_property_person_with_an_invalid_number_is_reported() -> None:
    people, problems = read({**PROPERTY, "Secondary Mobile Phone1": "555-0101"})

    assert [found.first_name for found in people] == ["Ada"]
    assert [fault.column for fault in problems] == ["Secondary Mobile Phone1"]


def test_state_is_stored_as_its_code() -> None:
    assert person({"phone": "6175550101", "state": "Tex."}).state == "TX"
    abroad = person({"phone": "6175550101", "state": "Bayern", "country": "DE"})
    assert (abroad.state, abroad.zone_key.startswith("?/")) == ("Bayern", True)


def test_unknown_state_is_reported_and_the_strictest_hours_apply() -> None:
    people, problems = read({"phone": "212-555-0101", "first_name": "Ada", "state": "ZZ"})

    assert [(one.column, one.value, one.code) for one in problems] == [
        ("state", "ZZ", "unknown_state")
    ]
    assert people[0].state is None
    assert people[0].attributes == {"state_as_written": "ZZ"}
    assert people[0].zone_key.startswith("?/")


def test_problem_of_an_address_that_two_people_share_is_reported_once() -> None:
    people, problems = read(PROPERTY | {"Mail State": "ZZ", "Mail ZIP": ""})

    assert [one.attributes["state_as_written"] for one in people] == ["ZZ", "ZZ"]
    assert [one.code for one in problems] == ["unknown_state"]
