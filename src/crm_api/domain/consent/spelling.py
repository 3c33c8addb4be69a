"""Words as people type them: one slip of the thumb away, with digits for letters, drawn out."""

import re
from collections.abc import Iterable

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DRAWN_OUT = re.compile(r"(.)\1+")
_LIKE_LETTERS = str.maketrans("0134578$@+", "oieastbsat")
_AROUND = "$@+"
SHORTEST_MISTYPED = 4
"""Letters; nearly everything is one slip away from a shorter word."""


def slips(word: str) -> set[str]:
    """Return what one slip makes of a word: a letter lost, added, replaced, or two swapped."""
    parts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    lost = {head + tail[1:] for head, tail in parts if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in parts if len(tail) > 1}
    replaced = {head + one + tail[1:] for head, tail in parts if tail for one in _LETTERS}
    added = {head + one + tail for head, tail in parts for one in _LETTERS}
    return (lost | swapped | replaced | added) - {word}


def with_slips(
    known: dict[str, str], *, words: Iterable[str], real: frozenset[str]
) -> dict[str, str]:
    """Return what is known of each word, and the same for each slip of some of the words.

    Args:
        known: Anything by word.
        words: Those of them whose slips count.
        real: Words of their own, which are no slip of another.
    """
    meant: dict[str, set[str]] = {}
    for word in words:
        for slip in slips(word) if len(word) >= SHORTEST_MISTYPED else ():
            meant.setdefault(slip, set()).add(known[word])
    clear = {slip: means.pop() for slip, means in meant.items() if len(means) == 1}
    return {slip: sign for slip, sign in clear.items() if slip not in real} | known


def plain_forms(word: str) -> Iterable[str]:
    """Give what a word may stand for if it is unknown as typed: ``st0p``, ``$top``, ``stoooop``."""
    if not word.isalpha() and not word.isdigit():
        yield word.translate(_LIKE_LETTERS)
        yield (word := word.strip(_AROUND).translate(_LIKE_LETTERS))
    if _DRAWN_OUT.search(word):
        yield _DRAWN_OUT.sub(r"\1", word)
        yield _DRAWN_OUT.sub(r"\1\1", word)
