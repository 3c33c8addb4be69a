"""All spellings of an address give the same key, by which its property is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.people.properties.address_key import address_key, street_key


def make_key(
    street: str,
    postal_code: str | None = "02169",
    *,
    city: str | None = None,
    state: str | None = None,
) -> str | None:
    return address_key(street=street, city=city, state=state, postal_code=postal_code)


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("12 Main St", "12 main street"),
        ("12 Main St", "  12   MAIN   ST. "),
        ("12 Main St", "12 Main\u00a0Str"),
        ("12 Main St Apt 4B", "12 Main Street, #4b"),
        ("12 Main St Apt 4B", "12 Main Street Unit 4-B"),
        ("12 Main St Apt 4B", "12 Main St # 4 B"),
        ("12 Main St Apt. 4B", "Apt 4B, 12 Main St"),
        ("12 Main St Apt 4B", "12 Main St Apt #4B"),
        ("12 Main St Suite 200", "12 Main St Ste 200"),
        ("12 N Oak Ave", "12 North Oak Avenue"),
        ("12 St James Ter", "12 Saint James Terrace"),
        ("12 5th Ave", "12 Fifth Avenue"),
        ("12-14 Main St", "12 - 14 Main Street"),
        ("12 1/2 Main St", "12 1 / 2 Main St"),
        ("12 O'Brien Rd", "12 OBrien Road"),
        ("12 Peña Ln", "12 Pena Lane"),
        ("12 Winston-Salem Dr", "12 Winston Salem Drive"),
        ("12 Main St Bldg 3 Apt 4", "12 Main Street Building 3 Unit 4"),
        ("12 Main St Apt", "12 Main St"),
    ],
)
def test_spellings_of_one_address_have_one_key(spelling: str, other: str) -> None:
    assert make_key(spelling) == make_key(other)


@pytest.mark.parametrize(
    ("street", "other"),
    [
        ("12 Main St", "13 Main St"),
        ("12 Main St", "12 Main Ave"),
        ("12 Main St", "12 Main St #4"),
        ("12 Main St #4", "12 Main St #5"),
        ("12 Main St #41", "12 Main St #4 1A"),
        ("12 N Main St", "12 S Main St"),
        ("12-14 Main St", "1214 Main St"),
        ("12 1/2 Main St", "12 12 Main St"),
    ],
)
def test_different_addresses_have_different_keys(street: str, other: str) -> None:
    assert make_key(street) != make_key(other)


@pytest.mark.parametrize("zip_code", ["02169", "02169-1234", "021691234", " 02169 ", "2169"])
def test_key_has_the_zip_code_of_five_digits(zip_code: str) -> None:
    assert make_key("12 Main St", zip_code, city="anything") == "12 main st|02169"


def test_key_without_a_zip_code_has_city_and_state() -> None:
    found = make_key("12 Main St", None, city="St. Louis", state="Missouri")

    assert found == "12 main st|st louis mo"
    assert make_key("12 Main St", "", city="Saint Louis", state="MO") == found


def test_canadian_postal_code_keeps_its_letters() -> None:
    assert make_key("12 Main St", "k1a 0b1") == "12 main st|k1a0b1"


@pytest.mark.parametrize(
    ("street", "postal_code", "city", "state"),
    [
        ("", "02169", "Quincy", "MA"),
        (" #. ", "02169", "Quincy", "MA"),
        ("12 Main St", None, None, None),
        ("12 Main St", " ", "Quincy", None),
        ("12 Main St", None, None, "MA"),
    ],
)
def test_incomplete_address_has_no_key(
    street: str, postal_code: str | None, city: str | None, state: str | None
) -> None:
    assert make_key(street, postal_code, city=city, state=state) is None


@given(st.text(max_size=60))
def test_key_of_a_key_is_not_changed(text: str) -> None:
    once = street_key(text)

    assert street_key(once) == once
    assert "|" not in once
