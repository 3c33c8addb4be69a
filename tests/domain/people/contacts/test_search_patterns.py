"""A search text is split into patterns that an index of trigrams can find."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_api.domain.people.contacts.errors import UnsearchableError
from crm_api.domain.people.contacts.search_patterns import fold, search_patterns


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", []),
        ("   ", []),
        ("rossi", [["%rossi%"]]),
        ("ada rossi", [["%ada%"], ["%rossi%"]]),
        ("6175550123", [["%16175550123%"]]),
        ("(617) 555-0123", [["%16175550123%"]]),
        ("+1 617.555.0123", [["%16175550123%"]]),
        ("tel: 617 555 0123", [["%16175550123%"]]),
        ("617-555", [["%617555%"]]),
        ("555 01", [["%55501%"]]),
        ("rossi 617-555", [["%rossi%"], ["%617-555%", "%617555%"]]),
        ("rossi 617-555-0123", [["%rossi%"], ["%617-555-0123%", "%16175550123%"]]),
        ("12", [["% 12%", "% +112%"]]),
        ("smith & sons", [["%smith%"], ["%sons%"]]),
        ("ada@example.com", [["%ada@example.com%"]]),
        ("José O\u2019Brien", [["%jose%"], ["%obrien%"]]),
        ("j SMITH", [["% j%"], ["%smith%"]]),
        ("-- jo", [["% jo%"]]),
        ("a.b", [["% a.b%"]]),
        ("50% a_b \\", [["% 50\\%%"], ["% a\\_b%"]]),
        ("李", [["% 李%"]]),
    ],
)
def test_search_text_is_split_into_patterns(text: str, patterns: list[list[str]]) -> None:
    assert search_patterns(text) == patterns


def test_words_beyond_the_tenth_are_ignored() -> None:
    assert len(search_patterns("a " * 50)) == 10


@pytest.mark.parametrize("text", ["-", "& %", "___", "…", "'"])
def test_text_without_letters_and_digits_is_refused(text: str) -> None:
    with pytest.raises(UnsearchableError, match="no letter and no digit"):
        search_patterns(text)


@pytest.mark.parametrize(
    "name",
    [
        *("Ada", "ADA O'Brien", "José", "Jose\u0301", "ÁLVAREZ", "Łódź", "Straße", "Ægir Œuvre"),
        *(
            "ﬁne",
            "Σίσυφος ΣΑΣ",
            "İstanbul \u0131s\u0131",
            "O\u2019Brien O\u02bcBrien",
            "Đặng",
            "李 小龍",
            "ﷺ",
        ),
        *("a\u0300\u0345b", "½ ™", "Ünal-Ø", "ẞ", "ÅÄÖ åäö", "😀 Ada", "\u0130\u0307"),
    ],
)
async def test_database_and_search_fold_text_equally(
    connection: AsyncConnection, name: str
) -> None:
    assert await connection.scalar(text("SELECT search_fold(:name)"), {"name": name}) == fold(name)
