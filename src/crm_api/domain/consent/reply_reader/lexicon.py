"""Look words up in the lexicon: a form of five languages stands for a concept they share."""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "es", "pt", "ht", "fr")

FIRST_CONCEPT = 1 << 22
"""Codes of concepts begin here, above every code point."""

Concepts = tuple[int, ...]
"""The concept of a form in each of ``LANGUAGES``; 0 where the language does not list it."""
NOT_LISTED: Concepts = (0,) * len(LANGUAGES)


@dataclass(frozen=True)
class Lexicon:
    """The forms and what they mean.

    Attributes:
        forms: A word, or several joined by underscores.
        heads: First words of forms of several words, with the number of words of the longest.
    """

    forms: dict[str, Concepts]
    heads: dict[str, int]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Return the lexicon of this release, which is a file of the package."""
    forms: dict[str, Concepts] = {}
    heads: dict[str, int] = {}
    same: dict[Concepts, Concepts] = {}  # most forms share their concepts with others
    with Path(__file__).with_name("lexicon.tsv").open(encoding="utf-8") as lines:
        for line in lines:
            name, language, words = line.split("\t")
            concept = FIRST_CONCEPT + zlib.crc32(name.encode()) % FIRST_CONCEPT
            for form in words.split():
                known = tuple(
                    concept if language == code or (language == "any" and not before) else before
                    for code, before in zip(LANGUAGES, forms.get(form, NOT_LISTED), strict=True)
                )
                forms[form] = same.setdefault(known, known)
                head, *others = form.split("_")
                if others:
                    heads[head] = max(heads.get(head, 0), len(others) + 1)
    return Lexicon(forms, heads)
