"""A search text for messages is split into terms."""

import pytest

from crm_api.domain.office.message_search.terms import parse_terms
from crm_api.domain.people.contacts.errors import UnsearchableError


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", []),
        ("  ", []),
        ("Chimney", ["%chimney%"]),
        ("\u00d3scar chimney.", ["%oscar%", "%chimney%"]),
        ("a", ["% a%"]),
        ("100%", ["%100\\%%"]),
        ("don't", ["%dont%"]),
        ('"Water in the  basement" rossi', ["%water in the basement%", "%rossi%"]),
        ("\u201cno hot water\u201d", ["%no hot water%"]),
        ('"ok"', ["% ok%"]),
        ('chimney "', ["%chimney%"]),
    ],
)
def test_search_text_is_split_into_patterns(text: str, patterns: list[str]) -> None:
    assert [term.patterns[0] for term in parse_terms(text)] == patterns


def test_phone_number_in_any_format_is_one_term() -> None:
    assert parse_terms("(617) 555-0123") == parse_terms("617.555.0123")
    assert [term.word for term in parse_terms("(617) 555-0123")] == [None]


def test_typing_errors_are_allowed_only_in_words_of_four_letters_or_more() -> None:
    words = [term.word for term in parse_terms('chimny the 0123 "two words"')]

    assert words == [None, "chimny", None, None]


def test_words_after_the_tenth_are_ignored() -> None:
    assert len(parse_terms(" ".join(f"word{place}" for place in range(500)))) == 10


@pytest.mark.parametrize("text", ["%", "?!", '"%"', '""'])
def test_text_without_letters_and_digits_cannot_be_searched(text: str) -> None:
    with pytest.raises(UnsearchableError):
        parse_terms(text)
