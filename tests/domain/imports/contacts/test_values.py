"""Single cells are read as names, addresses, codes and tags."""

import pytest

from crm_api.domain.imports.contacts.values import (
    Address,
    Name,
    email_address,
    person_name,
    postal_code,
    split_address,
    split_name,
    state_name,
    tag_names,
)
from crm_api.domain.kit.csv_export import csv_safe
from crm_api.domain.kit.zones import country_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Fatima  ", "Fatima"),
        ("ROSSI", "Rossi"),
        ("rossi", "Rossi"),
        ("O'BRIEN", "O'Brien"),
        ("D'ANGELO", "D'Angelo"),
        ("ØSTERGAARD", "Østergaard"),
        ("LOPEZ-REYES", "Lopez-Reyes"),
        ("MACDONALD", "MacDonald"),
        ("MACHADO", "Machado"),
        ("MCDONALD", "McDonald"),
        ("MacDonald", "MacDonald"),
        ("van der Berg", "van der Berg"),
        ("JD", "JD"),
        ("SMITH III", "Smith III"),
        ("", ""),
    ],
)
def test_names_get_usual_capitals_and_spaces(text: str, expected: str) -> None:
    assert person_name(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fatima Murphy", Name("Fatima", None, "Murphy")),
        ("ROSSI, ADA M", Name("Ada", "M", "Rossi")),
        ("Ada M. Rossi", Name("Ada", "M.", "Rossi")),
        ("Maria de la Cruz", Name("Maria", None, "de la Cruz")),
        ("Dr. John Smith Jr.", Name("John", None, "Smith Jr.")),
        ("Ada & Leo Kim", Name("Ada & Leo", None, "Kim")),
        ("Ada M & Leo Kim", Name("Ada & Leo", None, "Kim")),
        ("J & M Smith", Name("J & M", None, "Smith")),
        ("SMITH, J & M", Name("J & M", None, "Smith")),
        ("Ada & L Rossi", Name("Ada & L", None, "Rossi")),
        ("Rossi, Ada and Leo", Name("Ada and Leo", None, "Rossi")),
        ("Mr & Mrs Smith", Name(None, None, "Smith")),
        ("Smith, Mr. & Mrs.", Name(None, None, "Smith")),
        ("Mr. and Mrs. John Smith", Name("John", None, "Smith")),
        ("Mr Smith", Name(None, None, "Smith")),
        ("Ada", Name("Ada")),
        ("", Name()),
        ("Granite Holdings LLC", Name(company="Granite Holdings LLC")),
        ("The Rossi Family Trust", Name(company="The Rossi Family Trust")),
    ],
)
def test_full_names_are_split(text: str, expected: Name) -> None:
    assert split_name(text) == expected


def test_address_in_one_column_is_split() -> None:
    assert split_address("463 Furnace Brook St, Miami, FL 33101") == Address(
        "463 Furnace Brook St", "Miami", "FL", "33101"
    )
    assert split_address("12 Main St, Apt 4, Boston, Massachusetts 02134-1234, USA") == Address(
        "12 Main St, Apt 4", "Boston", "MA", "02134-1234", "US"
    )
    assert split_address("12 Oak St\nSan Jose, CA") == Address("12 Oak St", "San Jose", "CA")
    assert split_address("12 Oak St, Reno, NV, 89501") == Address(
        "12 Oak St", "Reno", "NV", "89501"
    )


@pytest.mark.parametrize("text", ["12 Main St", "Old mill, behind the church", "Rua 5, Lisboa"])
def test_address_outside_the_us_is_not_split(text: str) -> None:
    assert split_address(text) == Address(street=text)


def test_empty_address_gives_no_fields() -> None:
    assert split_address(" , ") == Address()


@pytest.mark.parametrize(
    "text", ["ada@example.com", " mailto:ada@example.com ", "<ada@example.com>"]
)
def test_email_addresses_are_read(text: str) -> None:
    assert email_address(text) == "ada@example.com"


@pytest.mark.parametrize("text", ["not-an-email", "a@b", "a b@example.com", "a@@example.com", ""])
def test_other_text_is_not_an_email_address(text: str) -> None:
    assert email_address(text) is None


def test_leading_zeros_of_zip_codes_are_restored() -> None:
    assert [postal_code(text) for text in ("2169", "02169", "601", "02169-1234", "2169.0")] == [
        "02169",
        "02169",
        "00601",
        "02169-1234",
        "02169",
    ]


def test_states_and_countries_become_codes() -> None:
    assert [state_name(text) for text in ("ma", "Florida", "Île-de-France")] == [
        "MA",
        "FL",
        "Île-de-France",
    ]
    assert [country_code(text) for text in ("USA", "Canada", "Portugal")] == [
        "US",
        "CA",
        "Portugal",
    ]


def test_tags_are_split_and_unique() -> None:
    assert tag_names("vip; spring 2026, vip |") == ["vip", "spring 2026"]


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2", "@sum", "\tx"])
def test_formulas_are_escaped_in_exported_files(text: str) -> None:
    assert csv_safe(text) == "'" + text


@pytest.mark.parametrize("text", ["Ada", "+16175550123", "", "a=b"])
def test_other_cells_are_exported_unchanged(text: str) -> None:
    assert csv_safe(text) == text
