"""The characters of a message decide its encoding and its number of segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_api.domain.kit.message_segments import (
    BASIC,
    EXTENSION,
    Encoding,
    forcing_characters,
    segments,
)


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", Encoding.GSM_7, 0),
        ("a", Encoding.GSM_7, 1),
        ("a" * 160, Encoding.GSM_7, 1),
        ("a" * 161, Encoding.GSM_7, 2),
        ("a" * 306, Encoding.GSM_7, 2),
        ("a" * 307, Encoding.GSM_7, 3),
        ("€" * 80, Encoding.GSM_7, 1),
        ("€" * 81, Encoding.GSM_7, 2),
        # A part has 153 units. This number is odd, so characters of two units leave the last unit
        # empty.
        ("€" * 152, Encoding.GSM_7, 2),
        ("€" * 153, Encoding.GSM_7, 3),
        ("a" * 152 + "€" + "a" * 152, Encoding.GSM_7, 3),
        ("a" * 159 + "€", Encoding.GSM_7, 2),
        ("ñÑéÉàÄöü§¿¡", Encoding.GSM_7, 1),
        ("ç", Encoding.UCS_2, 1),
        ("\u2019" + "a" * 69, Encoding.UCS_2, 1),
        ("\u2019" + "a" * 70, Encoding.UCS_2, 2),
        ("\U0001f600" * 35, Encoding.UCS_2, 1),
        ("\U0001f600" * 66, Encoding.UCS_2, 2),
        ("\U0001f600" * 67, Encoding.UCS_2, 3),
    ],
)
def test_encoding_and_segments_depend_on_the_characters(
    text: str, encoding: Encoding, count: int
) -> None:
    assert segments(text) == (encoding, count)


def test_basic_and_extension_tables_are_those_of_gsm_7() -> None:
    # GSM-7 has 128 code points. One of them is the escape to the extension table, which has ten
    # characters.
    assert len(BASIC) == len(set(BASIC)) == 127
    assert set(EXTENSION) == set("^{}\\[~]|€\f")


def count_parts(text: str) -> int:
    """Count the parts of a message character by character, as a phone would."""
    gsm = all(character in BASIC + EXTENSION for character in text)
    single, size = (160, 153) if gsm else (70, 67)
    widths = [
        2 if (character in EXTENSION if gsm else len(character.encode("utf-16-le")) > 2) else 1
        for character in text
    ]
    if sum(widths) <= single:
        return 1 if text else 0
    parts, used = 1, 0
    for width in widths:
        if used + width > size:
            parts, used = parts + 1, 0
        used += width
    return parts


@given(
    st.text(alphabet="ab€[ñ", max_size=1_000)
    | st.text(alphabet="a€ç\U0001f600\u05d0", max_size=600)
)
def test_no_character_is_split_over_two_parts(text: str) -> None:
    assert segments(text)[1] == count_parts(text)


def test_characters_that_force_ucs_2_are_returned_with_their_positions() -> None:
    text = "Don\u2019t [wait] \U0001f600 \u05e9\u05dc\u05d5\u05dd €"

    found = forcing_characters(text)

    assert found[:2] == [(3, "\u2019"), (13, "\U0001f600")]
    assert [text[position] for position, _ in found] == [character for _, character in found]
    assert {character for _, character in found[2:]} == set("\u05e9\u05dc\u05d5\u05dd")
