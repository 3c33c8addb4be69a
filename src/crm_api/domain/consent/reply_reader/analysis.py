"""Normalise a reply, split it into words, choose its language, and look up what its words mean.

A *concept* is a meaning that words of the five languages share. For example, ``texting``,
``escriban`` and ``ekri`` all have the concept TEXT_VERB (``lexicon.tsv``). With concepts, a model
that learned from replies in one language also reads replies in the others.

The *folded* text is the normalised text: see ``fold``.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from crm_api.domain.consent.reply_reader.lexicon import LANGUAGES, NOT_LISTED, Concepts, lexicon

LONGEST_READ = 2000
"""The largest number of characters that are read. Of a longer text, only the first and the last
thousand characters are read."""

_HALF = LONGEST_READ // 2
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff\ud800-\udfff]"
)
_ELONGATED = re.compile(r"(.)\1{2,}")
_DIGIT = re.compile(r"\d")
_PLAIN = str.maketrans("0123456789", "0" * 10, "'\u2019\u2018\u02bc`\u00b4")
"""Replaces each digit by 0 and removes apostrophes."""
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏκντ", "aeopcyxijsdhlkvt")

UNKNOWN = 1
"""The concept of a word that is not in the lexicon."""
_FIRST_MARK = 8
"""Each punctuation mark or symbol is a concept. Its number is this value plus the code point."""


@dataclass(frozen=True)
class Context:
    """What is known about the conversation before a reply.

    Attributes:
        is_sale: True if an employee wrote our last message by hand.
        is_question: True if our last message ended in a question.
    """

    is_sale: bool = False
    is_question: bool = False


@dataclass(frozen=True)
class Analysis:
    """A reply, split into words, and the meanings of the words.

    Attributes:
        whole: The text of the reply, normalised by ``fold``.
        folded: ``whole`` without polite words and punctuation at its beginning and end. The model
            reads only this text. If nothing would be left, it is the same as ``whole``.
        words: The words, punctuation marks and symbols of ``folded``, in their order.
        ends: For each word, the position in ``folded`` at which it ends.
        concepts: The numbers of the meanings, in the order of the words. One meaning may belong to
            several words together.
        places: For each item of ``concepts``, the index in ``words`` of the word to which the item
            belongs. If the item belongs to several words, it is the index of the first of them.
        language: The language whose lexicon contains the most words of the reply. English if no
            lexicon contains any of them.
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
    """Normalise a text so that different ways of writing the same words become equal.

    Letters become lower case, without accents. Each digit becomes 0. Apostrophes and invisible
    characters are removed. A character that is repeated three times or more is written twice. One
    space is before, between and after the words.
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
    """Normalise a text, split it into words, and find its language and the words' meanings."""
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
    """Choose the language whose lexicon contains the most of these words.

    Returns:
        The language, the concepts (meanings) that the words have in this language, and for each of
        these concepts the index of the word (or of the first of several words) that has it.
    """
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
    """Find the phrases of the lexicon (forms of two or more words) among the words of a reply.

    Returns:
        For each phrase: the index of its first word, the number of its words, and its concepts. If
        several phrases begin at the same word, the longest phrase comes first.
    """
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
    """Count the words that are in the lexicon of one language, alone or as part of a phrase.

    Args:
        column: The concept of each word in this language; 0 if the lexicon does not have the word.
        longer: The phrases, as ``_longer_forms`` returns them.
        language: The index of the language in ``LANGUAGES``.

    Returns:
        The number of these words, and a dictionary of the phrases of this language. The phrases do
        not overlap. The key is the index of the first word of a phrase. The value has two numbers:
        how many words the phrase has, and the concept of the phrase.
    """
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
