"""Counting segments."""

import pytest

from crm_api.domain.campaigns.segments import Encoding, segments


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
        # 153 is odd, so a two-unit character never fills the last place of a part.
        ("€" * 152, Encoding.GSM_7, 2),
        ("€" * 153, Encoding.GSM_7, 3),
        ("ñÑéÉàÄöü§¿¡", Encoding.GSM_7, 1),
        ("ç", Encoding.UCS_2, 1),
        ("\u2019" + "a" * 69, Encoding.UCS_2, 1),
        ("\u2019" + "a" * 70, Encoding.UCS_2, 2),
        ("\U0001f600" * 35, Encoding.UCS_2, 1),
        ("\U0001f600" * 66, Encoding.UCS_2, 2),
        ("\U0001f600" * 67, Encoding.UCS_2, 3),
    ],
)
def test_segments_follow_the_alphabet(text: str, encoding: Encoding, count: int) -> None:
    assert segments(text) == (encoding, count)
