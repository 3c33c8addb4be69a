import pytest

from crm_api.domain.contacts.search import search_terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("   ", []),
        ("rossi", [["rossi"]]),
        ("ada rossi", [["ada"], ["rossi"]]),
        ("6175550123", [["16175550123"]]),
        ("(617) 555-0123", [["16175550123"]]),
        ("+1 617.555.0123", [["16175550123"]]),
        ("tel: 617 555 0123", [["16175550123"]]),
        ("617-555", [["617555"]]),
        ("555 01", [["55501"]]),
        ("rossi 617-555", [["rossi"], ["617-555", "617555"]]),
        ("rossi 617-555-0123", [["rossi"], ["617-555-0123", "16175550123"]]),
        ("12", [["12"]]),
        ("smith & sons", [["smith"], ["&"], ["sons"]]),
        ("ada@example.com", [["ada@example.com"]]),
    ],
)
def test_search_is_taken_apart(text: str, terms: list[list[str]]) -> None:
    assert search_terms(text) == terms


def test_words_beyond_the_tenth_are_ignored() -> None:
    assert len(search_terms("a " * 50)) == 10
