"""Count the segments of a message; the provider charges for each segment.

If all characters of the message are in GSM-7, its encoding is GSM-7. If not, its encoding is UCS-2.

- GSM-7: A single segment has up to 160 characters. If there are several segments, each has up to
  153. A character of the extension table counts as two.
- UCS-2: A single segment has up to 70 UTF-16 units. If there are several segments, each has up to
  67.

No character is split over two segments.

Source: 3GPP TS 23.038, GSM 7 bit default alphabet, and TS 23.040, section 9.2.3.24.1.
"""

import re
from enum import StrEnum

BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"

# The patterns are compiled once, because a preview of a campaign counts the segments of up to
# 100,000 messages.
_FORCING = re.compile(f"[^{re.escape(BASIC + EXTENSION)}]")
_EXTENDED = re.compile(f"[{re.escape(EXTENSION)}]")
_PAIRED = re.compile("[\U00010000-\U0010ffff]")


class Encoding(StrEnum):
    """The character encoding of a message at the carrier."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


_SINGLE = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
_PART = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}
_DOUBLE = {Encoding.GSM_7: _EXTENDED, Encoding.UCS_2: _PAIRED}
"""For each encoding, a pattern for the characters that need the space of two characters."""


def segments(text: str) -> tuple[Encoding, int]:
    """Return the encoding of a message and the number of SMS segments that are charged for it.

    An empty message has 0 segments.
    """
    encoding = Encoding.UCS_2 if _FORCING.search(text) else Encoding.GSM_7
    doubled = [found.start() for found in _DOUBLE[encoding].finditer(text)]
    length = len(text) + len(doubled)
    if length <= _SINGLE[encoding]:
        return encoding, 1 if text else 0
    return encoding, _parts(len(text), doubled, size=_PART[encoding])


def forcing_characters(text: str) -> list[tuple[int, str]]:
    """Return the characters that are not in GSM-7, as pairs: the position (from 0), the character.

    One such character forces the whole message to be sent in UCS-2. In UCS-2, less text fits into
    one SMS segment.
    """
    return [(found.start(), found.group()) for found in _FORCING.finditer(text)]


def _parts(length: int, doubled: list[int], *, size: int) -> int:
    """Return the number of segments of a message that does not fit into one segment.

    A character of two units is never split over two segments.

    Args:
        length: The number of characters in the message.
        doubled: The positions of the characters that take two units, ascending.
        size: The number of units in a segment.
    """
    wasted = 0
    for before, position in enumerate(doubled):
        starts_at = position + before + wasted
        if starts_at % size == size - 1:
            wasted += 1
    return -(-(length + len(doubled) + wasted) // size)
