"""How many segments a text takes, which is what it costs.

In GSM-7 a message of one segment holds 160 characters and each part of a longer one 153;
characters of the extension table count two and are not split over two parts. A single other
character turns the whole text into UCS-2: 70, or 67 a part, in UTF-16 units, and a pair of
surrogates stays together.

Source: 3GPP TS 23.038, GSM 7 bit default alphabet, and TS 23.040, section 9.2.3.24.1.
"""

from collections.abc import Iterable
from enum import StrEnum

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_LAST_OF_BMP = 0xFFFF


class Encoding(StrEnum):
    """How a text travels."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


_SINGLE = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
_PART = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}


def segments(text: str) -> tuple[Encoding, int]:
    """Return the encoding a text needs and the segments it takes; an empty one takes none."""
    if all(character in _BASIC or character in _EXTENSION for character in text):
        widths = [2 if character in _EXTENSION else 1 for character in text]
        return Encoding.GSM_7, _parts(widths, Encoding.GSM_7)
    widths = [2 if ord(character) > _LAST_OF_BMP else 1 for character in text]
    return Encoding.UCS_2, _parts(widths, Encoding.UCS_2)


def _parts(widths: Iterable[int], encoding: Encoding) -> int:
    listed = list(widths)
    if sum(listed) <= _SINGLE[encoding]:
        return 1 if listed else 0
    parts, used = 1, 0
    for width in listed:
        if used + width > _PART[encoding]:
            parts, used = parts + 1, 0
        used += width
    return parts
