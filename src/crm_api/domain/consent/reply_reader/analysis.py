"""Fold a reply, split it into words, choose its language, and find what its words mean.

A *concept* is a meaning that the five languages share: ``texting``, ``escriban`` and ``ekri`` are
all TEXT_VERB (``lexicon.tsv``). Concepts let one language learn from the texts of the others.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from crm_api.domain.consent.reply_reader.lexicon import LANGUAGES, NOT_LISTED, Concepts, lexicon

LONGEST_READ = 2000
"""Characters; of a longer text the first and the last thousand are read."""

_HALF = LONGEST_READ // 2
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff\ud800-\udfff]"
)
_ELONGATED = re.compile(r"(.)\1{2,}")
_DIGIT = re.compile(r"\d")
_PLAIN = str.maketrans("0123456789", "0" * 10, "'\u2019\u2018\u02bc`\u00b4")
"""Digits become 0; apostrophes disappear."""
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏκντ", "aeopcyxijsdhlkvt")

UNKNOWN = 1
"""The concept of a word that the lexicon does not list."""
_FIRST_MARK = 8
"""Punctuation and signs are concepts of their own from here on, by code point."""


@dataclass(frozen=True)
class Context:
    """What was going on before a reply.

    Attributes:
        is_sale: A person of the office wrote last, or an appointment or a quote is open.
        is_question: Our last message ended in a question.
    """

    is_sale: bool = False
    is_question: bool = False


@dataclass(frozen=True)
class Analysis:
    """A folded text, its words, and their concepts.

    Attributes:
        whole: The folded text.
        folded: It without the courtesies and the punctuation before and after it: politeness cannot
            change a reading, for the features see only this. A text that has nothing else is kept.
        ends: Where each word ends in the folded text.
        places: The word at which each concept begins; a concept may cover several words.
        language: The language whose lexicon knows most of the words; English when none does.
    """

    whole: str
    folded: str
    words: tuple[str, ...]
    ends: tuple[int, ...]
    concepts: tuple[int, ...]
    places: tuple[int, ...]
    language: str


_COURTESY_WORDS = """
please pls plz plse thanks thank you thx ty kindly sir maam guys hey hi hello ok okay now
just immediately today dear sorry god bless
por favor porfa porfavor pf gracias hola senor senora senorita disculpe muchas
obrigado obrigada pfv pfvr favor ola moco moca agora
svp stp merci bonjour bonsoir monsieur madame maintenant
souple tanpri mesi bonjou bonswa mesye madan
🙏 ❤ 😊 🙂 😇 🤗 👋
"""
COURTESIES = frozenset(_COURTESY_WORDS.split())
_DRESS = COURTESIES | frozenset(
    '.,!;:-_~*"()[]/|\u2026\u2013\u2014\u201c\u201d\u00ab\u00bb\u00a1\u00bf'
)


def fold(text: str) -> str:
    """Return the text as the features see it.

    Lower case without accents, apostrophes and invisible characters; digits as 0; a letter that
    is repeated at most twice; one space before, between and after words.
    """
    if len(text) > LONGEST_READ:
        text = f"{text[:_HALF]} {text[-_HALF:]}"
    if text.isascii():
        text = text.lower().translate(_PLAIN)
    else:
        text = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text))
        text = "".join([one for one in text if not unicodedata.combining(one)])
        text = _DIGIT.sub("0", text.casefold().translate(_LOOKALIKES).translate(_PLAIN))
    words = _ELONGATED.sub(r"\1\1", text).split()
    return f" {' '.join(words)} "


def analyse(text: str) -> Analysis:
    """Fold a text, split it, choose its language, and look its words up."""
    whole = folded = fold(text)
    begin = 0
    tokens = list(_TOKEN.finditer(whole))
    first, last = 0, len(tokens) - 1
    while first <= last and tokens[first].group() in _DRESS:
        first += 1
    while last > first and tokens[last].group() in _DRESS:
        last -= 1
    if first <= last:
        begin = tokens[first].start() - 1
        folded = f" {whole[begin + 1 : tokens[last].end()]} "
        tokens = tokens[first : last + 1]
    words = tuple([token.group() for token in tokens])
    ends = tuple([token.end() - begin for token in tokens])
    language, concepts, places = _look_up(words)
    return Analysis(whole, folded, words, ends, concepts, places, language)


def _look_up(words: Sequence[str]) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return the language that lists most of the words, their concepts, and where each begins."""
    if not words:
        return LANGUAGES[0], (), ()
    forms = lexicon().forms
    columns = list(zip(*[forms.get(word, NOT_LISTED) for word in words], strict=True))
    longer = _longer_forms(words)
    listed = [_listed(column, longer, place) for place, column in enumerate(columns)]
    language = max(range(len(LANGUAGES)), key=lambda place: listed[place][0])
    column, spans = columns[language], listed[language][1]
    concepts = []
    places = []
    place = 0
    while place < len(words):
        size, concept = spans.get(place) or (1, column[place])
        concepts.append(concept or _concept_of_unlisted(words[place]))
        places.append(place)
        place += size
    return LANGUAGES[language], tuple(concepts), tuple(places)


def _longer_forms(words: Sequence[str]) -> list[tuple[int, int, Concepts]]:
    """Return place, size and concepts of all forms of several words, the longest first."""
    known = lexicon()
    found = []
    for place, word in enumerate(words):
        longest = known.heads.get(word)
        if longest:
            for size in range(min(longest, len(words) - place), 1, -1):
                concepts = known.forms.get("_".join(words[place : place + size]))
                if concepts:
                    found.append((place, size, concepts))
    return found


def _listed(
    column: tuple[int, ...], longer: Sequence[tuple[int, int, Concepts]], language: int
) -> tuple[int, dict[int, tuple[int, int]]]:
    """Return how many words a language lists, and size and concept of its forms of several."""
    hits = len(column) - column.count(0)
    spans = {}
    after = 0
    for place, size, concepts in longer:
        if place >= after and concepts[language]:
            spans[place] = (size, concepts[language])
            after = place + size
            hits += column[place:after].count(0)
    return hits, spans


def _concept_of_unlisted(word: str) -> int:
    return UNKNOWN if word[0].isalnum() else _FIRST_MARK + ord(word[0])
