"""Is this message the one we sent? Texts are compared as a person reads them."""

import re
import unicodedata

_QUOTES = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201b": "'",
        "\u2032": "'",
        "`": "'",
        "\u00b4": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2033": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2212": "-",
    }
)
_SPACES = re.compile(r"\s+")


def fold(body: str) -> str:
    """Undo what a provider's smart encoding may change: forms, quotes, dashes, spaces."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", body).translate(_QUOTES)).strip()


def is_same_text(one: str, other: str) -> bool:
    """True when two texts differ at most in ways that an encoding may change."""
    return one == other or fold(one) == fold(other)
