"""How many segments a text takes, which is what it costs.

In GSM-7 a message of one segment holds 160 characters and each part of a longer one 153;
characters of the extension table count two and are not split over two parts. A single other
character turns the whole text into UCS-2: 70, or 67 a part, in UTF-16 units, and a pair of
surrogates stays together.

Source: 3GPP TS 23.038, GSM 7 bit default alphabet, and TS 23.040, section 9.2.3.24.1.
"""

import re
from enum import StrEnum

BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"

# Compiled, since a preview counts a hundred thousand texts.
_FORCING = re.compile(f"[^{re.escape(BASIC + EXTENSION)}]")
_EXTENDED = re.compile(f"[{re.escape(EXTENSION)}]")
_PAIRED = re.compile("[\U00010000-\U0010ffff]")


class Encoding(StrEnum):
    """How a text travels."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


_SINGLE = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
_PART = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}
_DOUBLE = {Encoding.GSM_7: _EXTENDED, Encoding.UCS_2: _PAIRED}
"""What counts two."""


def segments(text: str) -> tuple[Encoding, int]:
    """Return the encoding a text needs and the segments it takes; an empty one takes none."""
    encoding = Encoding.UCS_2 if _FORCING.search(text) else Encoding.GSM_7
    doubled = [found.start() for found in _DOUBLE[encoding].finditer(text)]
    length = len(text) + len(doubled)
    if length <= _SINGLE[encoding]:
        return encoding, 1 if text else 0
    return encoding, _parts(len(text), doubled, size=_PART[encoding])


def forcing_characters(text: str) -> list[tuple[int, str]]:
    """Return the characters that GSM-7 lacks, each with its position, counted from 0."""
    return [(found.start(), found.group()) for found in _FORCING.finditer(text)]


def _parts(length: int, doubled: list[int], *, size: int) -> int:
    """Fill parts of a size one after the other; a pair that would be split begins the next.

    Args:
        length: Of the text, in characters.
        doubled: The positions of those that count two, in order.
        size: Units a part holds.
    """
    wasted = 0
    for before, position in enumerate(doubled):
        starts_at = position + before + wasted
        if starts_at % size == size - 1:
            wasted += 1
    return -(-(length + len(doubled) + wasted) // size)
