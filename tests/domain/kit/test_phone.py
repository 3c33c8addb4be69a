"""Phone numbers are read from text."""

import pytest

from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone, split_extension, split_numbers


@pytest.mark.parametrize(
    "text",
    [
        "6175550123",
        "16175550123",
        "+16175550123",
        "+1 617 555 0123",
        "617-555-0123",
        "617.555.0123",
        "617 555 0123",
        "(617) 555-0123",
        "(617)555-0123",
        "1-617-555-0123",
        "1 (617) 555-0123",
        "+1 (617) 555-0123",
        "+1.617.555.0123",
        "  617-555-0123  ",
        "617\u00a0555\u00a00123",
        "617\u2013555\u20110123",
        "617\u200b5550123",
        "\ufeff6175550123",
        "\u202a+16175550123\u202c",
        "".join(chr(0xFF10 + int(digit)) for digit in "6175550123"),
        "M: 617-555-0123",
        "Cell: (617) 555-0123",
        "cell 617-555-0123",
        "Mobile - 617-555-0123",
        "Tel. 617-555-0123",
        "tel:+1-617-555-0123",
        "Phone #: 617-555-0123",
        "617-555-0123 (cell)",
        "Ada 617-555-0123",
        "617-555-0123 x204",
        "617-555-0123x204",
        "617-555-0123 ext. 5",
        "617-555-0123 Ext 5",
        "617-555-0123, extension 12",
        "617-555-0123 #77",
        "tel:+1-617-555-0123;ext=9",
        "6.175550123E+09",
        "6.175550123e9",
        "6,175550123E+09",
        "1.6175550123E+10",
        "6175550123.0",
        "'6175550123",
        '="6175550123"',
        "617/555-0123",
        "617 - 555 - 0123",
        "(617)-555-0123",
        "001 617 555 0123",
    ],
)
def test_usual_formats_give_the_same_number(text: str) -> None:
    assert parse_phone(text) == "+16175550123"


def test_keypad_letters_are_read_as_digits() -> None:
    assert parse_phone("1-617-555-ROOF") == "+16175557663"
    assert parse_phone("(617) FLOWERS") == "+16173569377"


@pytest.mark.parametrize("text", ["(204) 555-0123", "787-555-0123", "416 555 0123"])
def test_canada_and_the_territories_are_accepted(text: str) -> None:
    assert parse_phone(text).startswith("+1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \u00a0 ", "empty"),
        ("call after 5", "no phone number"),
        ("n/a", "no phone number"),
        ("555-0123", "area code is missing"),
        ("61755501", "too short"),
        ("(617) 555-01234567", "too long"),
        ("26175550123", "too long"),
        ("0175550123", "area code"),
        ("117-555-0123", "area code"),
        ("617-155-0123", "area code"),
        ("2222222222", "same"),
        ("999-999-9999", "same"),
        ("+44 20 7946 0958", "not a US or Canadian number"),
        ("011 44 20 7946 0958", "not a US or Canadian number"),
        ("+52 55 5555 0123", "not a US or Canadian number"),
        ("876-555-0123", "not a US or Canadian number"),
        ("+999 1", "any country"),
        ("6.17555E+09", "shortened"),
        ("617-555-0123 / 617-555-0124", "more than one"),
        ("617-555-0123 at 5", "not a US or Canadian"),
        ("=HYPERLINK('x')", "no phone number"),
        ("6" * 200, "too long"),
    ],
)
def test_other_text_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidPhoneError, match=reason) as caught:
        parse_phone(text)

    assert caught.value.code == "invalid_phone"
    assert caught.value.errors[0].pointer == "/phone"


def test_reason_does_not_contain_the_number() -> None:
    with pytest.raises(InvalidPhoneError) as caught:
        parse_phone("(617) 555-01234567")

    assert "555" not in caught.value.detail


def test_extension_is_split_from_the_number() -> None:
    assert split_extension("617-555-0123 x204") == ("617-555-0123", "204")
    assert split_extension("617-555-0123") == ("617-555-0123", None)


def test_cell_with_two_numbers_is_split_into_both() -> None:
    assert split_numbers("617-555-0123 / 617-555-0124") == ["617-555-0123", "617-555-0124"]
    assert split_numbers("617-555-0123 or 6175550124") == ["617-555-0123", "6175550124"]
    assert split_numbers("617/555/0123") == ["617/555/0123"]
