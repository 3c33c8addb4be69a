"""Opt-out columns are recognised by their names and cells."""

import pytest

from crm_api.domain.imports.contacts.formats import detect_format
from crm_api.domain.imports.contacts.opt_outs import (
    DO_NOT_CONTACT,
    OPTED_OUT,
    consent_field,
    read_answer,
)
from crm_api.domain.imports.contacts.people import RowReader
from crm_api.domain.imports.contacts.rows import RowResult
from crm_api.domain.imports.files.reader import RawRow


@pytest.mark.parametrize(
    ("column", "field"),
    [
        *dict.fromkeys(
            (
                *("Opted Out", "opt_out", "OptOut?", "Opt-out date", "SMS Opt Out", "Unsubscribed"),
                *("Unsubscribed At", "STOP", "Stop Date", "Do Not Text", "Do Not Message", "DNT"),
                *("No SMS", "No Text", "Baja", "Fecha de baja", "Suscripción cancelada"),
                *("No enviar mensajes", "Account Opted Out", "Country Opt Out"),
                *("Opted out of text message", "Unsubscribed from SMS message"),
            ),
            OPTED_OUT,
        ).items(),
        *dict.fromkeys(
            (
                *(
                    "Do Not Contact",
                    "DNC",
                    "DNC Status",
                    "Federal DNC",
                    "Phone 1 DNC",
                    "Don't Call",
                ),
                *("Do Not Call", "No contactar", "No llamar", "Lista Negra", "do_not_contact"),
                *("Account: Do Not Call", "County DNC"),
            ),
            DO_NOT_CONTACT,
        ).items(),
        *dict.fromkeys(
            (
                *("First Name", "Notes", "Contact", "Bus Stop", "Options", "Email Opt Out"),
                *("Opt Out Reason", "Unsubscribe Link", "Opt In", "Do Not Mail", "Contacted"),
                *("Opt Out Count", "Opt-out message", "Unsubscribe count"),
            ),
            None,
        ).items(),
    ],
)
def test_opt_out_column_is_recognised_by_its_name(column: str, field: str | None) -> None:
    assert consent_field(column) == field


@pytest.mark.parametrize(
    "cell",
    [
        *("yes", "Y", "TRUE", "T", "1", "x", "✓", "Sí", "si", "opted out", "Unsubscribed"),
        *("2026-01-02", "1/2/26 10:00", "Jan 5, 2025", "5 de enero de 2025", "45321", "STOP"),
        "Opt-out date",
    ],
)
def test_yes_or_a_date_is_an_opt_out(cell: str) -> None:
    assert read_answer(cell, column="Opt-out date") is True


@pytest.mark.parametrize(
    "cell",
    ["", "no", "N", "FALSE", "F", "0", "N/A", "-", "—", "0000-00-00", "0000-00-00T00:00:00"],
)
def test_no_is_not_an_opt_out(cell: str) -> None:
    assert read_answer(cell, column="Opted Out") is False


@pytest.mark.parametrize("cell", ["maybe", "2", "pending", "ask Leo", "45321"])
def test_other_text_is_an_unclear_opt_out(cell: str) -> None:
    assert read_answer(cell, column="Opted Out") is None


def test_detected_mapping_has_opt_out_columns_and_a_given_mapping_can_ignore_them() -> None:
    header = ["Phone", "Opted Out", "DNC"]
    sample = [["6175550101", "yes", "no"]]

    found = detect_format(header, sample)
    declined = detect_format(header, sample, {"Opted Out": "attributes.opted_out", "DNC": None})

    assert found.mapping == {"Phone": "phone", "Opted Out": OPTED_OUT, "DNC": DO_NOT_CONTACT}
    assert [(one.told_by, one.fits) for one in found.columns[1:]] == [("name", 100)] * 2
    assert len(found.notes) == 2
    assert list(declined.mapping.values()) == ["phone", "attributes.opted_out", None]
    assert declined.notes == []


def test_opt_out_column_that_contains_phone_numbers_is_a_phone_column() -> None:
    assert detect_format(["DNC"], [["6175550101"], ["6175550102"]]).mapping == {"DNC": "phone"}


def _read(row: dict[str, str]) -> RowResult:
    header, values = list(row), list(row.values())
    return RowReader(header, detect_format(header, [values]).mapping).read(RawRow(7, values))


def test_opt_out_applies_to_all_numbers_of_the_person() -> None:
    result = _read({"Mobile": "6175550101", "Home Phone": "6175550102", "Opted Out": "yes"})

    assert [one.phones for one in result.opt_outs] == [["+16175550101", "+16175550102"]]


def test_opt_out_of_a_property_row_applies_to_both_people_or_to_the_second() -> None:
    people = {
        "Primary Name": "Ada Rossi",
        "Primary Mobile Phone1": "6175550101",
        "Secondary Name": "Leo Rossi",
        "Secondary Mobile Phone1": "6175550102",
        "APN": "9",
        "Est Value": "1",
    }

    both = _read(people | {"Do Not Contact": "x"})
    second = _read(people | {"Secondary Opted Out": "x", "Do Not Contact": ""})

    assert [one.phones for one in both.opt_outs] == [["+16175550101"], ["+16175550102"]]
    assert [one.phones for one in second.opt_outs] == [["+16175550102"]]
