"""Load the lexicon, which maps words of five languages to the concepts that they mean."""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "es", "pt", "ht", "fr")

FIRST_CONCEPT = 1 << 22
"""The numbers of concepts begin here, so that no concept has the number of a code point."""

Concepts = tuple[int, ...]
"""The concept of a word or phrase in each of ``LANGUAGES``; 0 for a language that does not have
it."""
NOT_LISTED: Concepts = (0,) * len(LANGUAGES)


@dataclass(frozen=True)
class Lexicon:
    """The words and phrases of all languages, with the concepts that they mean.

    A concept is a number. Words and phrases with the same meaning have the same concept.

    Attributes:
        forms: The concepts of each word or phrase. Underscores join the words of a phrase.
        heads: Maps each word that begins a phrase to the number of words in the longest phrase that
            begins with this word.
    """

    forms: dict[str, Concepts]
    heads: dict[str, int]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Return the lexicon: the words and phrases of all languages, with their meanings.

    A meaning is a number. For example, the English ``stop`` and the Spanish ``pare`` have the same
    number. The lexicon is read from a file only once per process.
    """
    forms: dict[str, Concepts] = {}
    heads: dict[str, int] = {}
    same: dict[Concepts, Concepts] = {}  # saves memory: many forms have equal concepts
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
