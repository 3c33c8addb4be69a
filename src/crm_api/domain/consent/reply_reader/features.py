"""Turn replies into features: hashes that the model uses.

A concept is the meaning of a word. A feature is the 32-bit hash of one of these things:

- A word or a concept.
- A few letters, words or concepts that follow each other.
- Two concepts, with up to four other concepts between them.
- A fact about the reply, such as its language, alone or with a concept.

The training and the running service both use this module, so they compute the same features. For
speed, all replies are processed together, as arrays.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from crm_api.domain.consent.reply_reader.analysis import UNKNOWN, Analysis, Context
from crm_api.domain.consent.reply_reader.lexicon import LANGUAGES

Codes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_START, _END = 2, 3
"""The marks before and after the concepts of a reply; known concepts have larger numbers."""
_SKIPS = np.array([[1], [2], [3], [4], [5]])
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
_LETTER, _WORD, _CONCEPT, _SKIP, _CONTEXT, _SALE = (kind << 8 for kind in range(1, 7))
_SALTS = np.array(
    [
        *(_CONCEPT + 1, _WORD + 1, _CONTEXT),
        *(_LETTER + 2, _CONCEPT + 2, _WORD + 2),
        *(_LETTER + 3, _CONCEPT + 3, _WORD + 3),
        *(_LETTER + 4, _CONCEPT + 4),
        *(_SKIP, _SALE),
    ],
    np.uint64,
)
"""A number for each kind and size of n-gram, in the order of ``features_of``.

It is added before hashing, so that n-grams of different kinds and sizes get different hashes.
"""
_WEIGHTS = np.array([3, 3, 3, 1, 3, 3, 1, 3, 3, 1, 3, 2.1, 3])
"""The weight of one n-gram of each kind and size, in the order of ``_SALTS``."""


@dataclass(frozen=True)
class Features:
    """The features of several replies. A feature is, for example, a pair of words.

    The other four fields are arrays with one entry for each place in ``row`` at which a feature
    occurs.

    Attributes:
        row: The elements of all replies in one long list: first all letters, then all concepts
            (meanings of words), then all words, then all contexts (facts such as the language).
        hashes: For each entry, the hash that identifies the feature.
        weights: For each entry, the weight of the feature. ``score_replies`` and the training later
            divide the weight by ``row.norms``, so that the vector of each reply has the length 1.
        lefts: For each entry, the index in ``row`` of the first element of the feature.
        rights: For each entry, the index in ``row`` of the last element of the feature.
    """

    hashes: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float64]
    lefts: Places
    rights: Places
    row: "_Row"

    def at(self, places: Places) -> "Features":
        """Return a copy with only some of the entries; the field ``row`` stays the same.

        Args:
            places: The indices of the entries that the copy has.
        """
        return Features(
            self.hashes[places],
            self.weights[places],
            self.lefts[places],
            self.rights[places],
            self.row,
        )

    @property
    def are_whole(self) -> npt.NDArray[np.bool_]:
        """Return for each occurrence of a feature whether it lies in a single reply.

        The letters and words of all replies are in one long list. So an occurrence can begin in one
        reply and end in the next one. The caller must drop such an occurrence.
        """
        whole: npt.NDArray[np.bool_] = self.row.groups[self.lefts] == self.row.groups[self.rights]
        return whole

    @property
    def owners(self) -> Places:
        """The index of the reply to which each occurrence of a feature belongs.

        A feature is, for example, two words in a row.
        """
        return self.row.groups[self.lefts] % len(self.row.norms)

    @property
    def firsts(self) -> Places:
        """The index of the word with which each occurrence of a feature begins.

        A feature is, for example, two words in a row. The words of all replies are counted as one
        list. For a feature of the conversation before the reply, the index is -1.
        """
        return self.row.words[self.lefts]

    @property
    def lasts(self) -> Places:
        """For each occurrence of a feature, the index of its last word.

        A feature is, for example, two words in a row. The index is the position in one list of the
        words of all replies. For a feature of the conversation before the reply, the index is -1.
        """
        return self.row.words[self.rights]


def first_words(analyses: Sequence[Analysis]) -> list[int]:
    """Return, for each reply, the index of its first word in the list of all replies' words.

    The last item is the total number of words. A reply without words counts as one word. For
    example, replies with 2, 0 and 3 words give [0, 2, 3, 6].
    """
    return list(accumulate((max(len(one.words), 1) for one in analyses), initial=0))


def features_of(analyses: Sequence[Analysis], contexts: Sequence[Context]) -> Features:
    """Return the features of several replies, computed together.

    A feature is, for example, a pair of words. All replies are read as one long text, so some
    features begin in one reply and end in the next. The caller must drop these features: their
    value in ``are_whole`` is False.
    """
    row = _row_of(analyses, contexts)
    codes, places = row.codes, np.arange(len(row.codes))
    letters, concepts, words, flags = row.totals
    before_words = letters + concepts
    before_flags = before_words + words
    twos = codes[:-1] * _MULTIPLIER + codes[1:]
    threes = twos[:-1] * _MULTIPLIER + codes[2:]
    fours = threes[:-1] * _MULTIPLIER + codes[3:]
    known = (codes[letters:before_words] > _END).nonzero()[0] + letters
    # Pairs of known concepts: the second is one to five known concepts after the first.
    skips, firsts = (np.arange(len(known)) + _SKIPS < len(known)).nonzero()
    left, right = known[firsts], known[firsts + skips + 1]
    are_sales = np.array([context.is_sale for context in contexts])
    in_sale = known[are_sales[row.groups[known] % len(contexts)]]
    values = np.concatenate(
        [
            codes[letters:],
            twos[:before_flags],
            threes[:before_flags],
            fours[:before_words],
            codes[left] * _MULTIPLIER + codes[right],
            codes[in_sale],
        ]
    )
    lefts = [places[letters:], places[:before_flags], places[:before_flags], places[:before_words]]
    rights = [
        places[letters:],
        places[1 : before_flags + 1],
        places[2 : before_flags + 2],
        places[3 : before_words + 3],
    ]
    sizes = [concepts, words, flags, *(letters, concepts, words) * 2, letters, concepts]
    sizes += [len(left), len(in_sale)]
    return Features(
        hashes=_hash(values + np.repeat(_SALTS, sizes)),
        weights=np.repeat(_WEIGHTS, sizes),
        lefts=np.concatenate([*lefts, left, in_sale]),
        rights=np.concatenate([*rights, right, in_sale]),
        row=row,
    )


@dataclass(frozen=True)
class _Row:
    """The elements of all replies in one list: all letters, then all concepts, words and contexts.

    A concept is the meaning of a word. A context is a fact about a reply, such as its language.

    Attributes:
        codes: The number of each element: a code point, a concept, the hash of a word, a context.
        groups: For each element, a number that identifies the kind and the reply of the element:
            ``kind * replies + reply``. ``kind`` is 0 for a letter, 1 for a concept, 2 for a word,
            3 for a context. ``replies`` is the number of replies, ``reply`` the index of the reply.
        words: For each element, the index of the word to which the element belongs, in one list of
            the words of all replies; -1 for a context.
        totals: Four numbers: how many letters, concepts, words and contexts there are.
        norms: For each reply, the length of the vector of the weights of its features.
    """

    codes: Codes
    groups: Places
    words: Places
    totals: tuple[int, int, int, int]
    norms: npt.NDArray[np.float64]


def _row_of(analyses: Sequence[Analysis], contexts: Sequence[Context]) -> _Row:
    concepts: list[int] = []
    words: list[int] = []
    flags: list[int] = []
    covered: list[int] = []
    also_covered: list[int] = []
    for one, context, first in zip(analyses, contexts, first_words(analyses), strict=False):
        concepts += (_START, *one.concepts, _END)
        covered += [first + place for place in _framed(one.places)]
        words.append(_BEFORE)
        words += [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in one.words]
        words.append(_AFTER)
        also_covered += _framed(tuple(range(first, first + len(one.words))), first)
        flags += (LANGUAGES.index(one.language), 16 + context.is_sale, 32 + context.is_question)
    sizes = [len(one.folded) for one in analyses]
    sizes += [len(one.concepts) + 2 for one in analyses]
    sizes += [len(one.words) + 2 for one in analyses]
    sizes += [3] * len(analyses)
    letters = "".join([one.folded for one in analyses]).encode("utf-32-le", "surrogatepass")
    others = np.array(concepts + words + flags, np.uint64)
    covers = np.array(covered + also_covered + [-1] * len(flags))
    return _Row(
        codes=np.concatenate([np.frombuffer(letters, np.uint32), others]),
        groups=np.repeat(np.arange(len(sizes)), sizes),
        words=np.concatenate([_words_of_letters(analyses), covers]),
        totals=(len(letters) // 4, len(concepts), len(words), len(flags)),
        norms=np.sqrt([_square(*pair) for pair in zip(analyses, contexts, strict=True)]),
    )


_BEFORE, _AFTER = zlib.crc32(b"<"), zlib.crc32(b">")


def _framed(places: tuple[int, ...], otherwise: int = 0) -> tuple[int, ...]:
    """Add an index for the mark at the beginning of a reply, and one for the mark at its end.

    A mark is an extra element that shows where the concepts or the words of a reply begin or end.
    The first mark gets the index of the first element. The second mark gets the index of the last
    element. For example, ``(3, 4)`` becomes ``(3, 3, 4, 4)``.

    Args:
        places: The indices of the elements: the concepts or the words of the reply.
        otherwise: The index of both marks if there are no elements.
    """
    return (places[0], *places, places[-1]) if places else (otherwise, otherwise)


def _words_of_letters(analyses: Sequence[Analysis]) -> Places:
    """Return for each letter the index of its word; a space belongs to the word after it."""
    begins: list[int] = []
    start = 0
    for one in analyses:
        begins.append(start)
        begins += [start + end for end in one.ends[:-1]]
        start += len(one.folded)
    counts = np.zeros(start, np.int64)
    counts[begins] = 1
    return counts.cumsum() - 1


def _square(one: Analysis, context: Context) -> float:
    """Return the squared length of the vector of a reply's features.

    This is the sum of the squared weights of all features. The features need not be known: the
    numbers of letters, words and concepts say how often each weight occurs.
    """
    known = len(one.concepts) - one.concepts.count(UNKNOWN)
    whole = _grams(len(one.words) + 2, 1, 3) + _grams(len(one.concepts) + 2, 1, 4)
    whole += 3 + known * context.is_sale
    return 9 * whole + _grams(len(one.folded), 2, 4) + 4.41 * _grams(known, 2, 6)


def _grams(length: int, smallest: int, largest: int) -> int:
    """Return how many n-grams a list of ``length`` elements has.

    An n-gram is a part of the list with ``smallest`` to ``largest`` consecutive elements.
    """
    largest = min(largest, length)
    sizes = largest - smallest + 1
    return sizes * (length + 1) - sizes * (smallest + largest) // 2


def _hash(values: Codes) -> npt.NDArray[np.uint32]:
    mixed = values * _MIX
    return ((mixed ^ (mixed >> _SHIFT)) * _MIX >> _SHIFT).astype(np.uint32)
