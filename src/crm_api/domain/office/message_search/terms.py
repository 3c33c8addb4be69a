"""Split a search text into terms, and find people whose names or numbers contain the terms.

A term is a word, a part of a phone number, or a phrase in quotes. Accents, apostrophes and capital
letters make no difference, as in the search for contacts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.contacts.errors import UnsearchableError
from crm_api.domain.people.contacts.search_patterns import fold, search_patterns
from crm_api.domain.people.models.contacts import Contact

_PHRASE = re.compile('["\u201c\u201d\u201e]([^"\u201c\u201d\u201e]*)["\u201c\u201d\u201e]')
_WORD = re.compile(r"[^\W\d_]{4,}")
"""Regular expression for words of four letters or more. Only for these words, the search also finds
similar words, such as words with a typing error. Shorter words are similar to too many other words.
"""
_ENDS = re.compile(r"[.,;:!?]+(?=\s)")
"""Regular expression for the punctuation after a word. It is not a part of the word."""
_USABLE = re.compile(r"[^\W_]{3}")
_WILDCARD = re.compile(r"([\\%_])")
MOST_PHRASES = 5


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of a search text.

    Attributes:
        patterns: LIKE patterns. A text contains the term if at least one pattern matches the text.
            The text is first normalised by ``fold``, and a space is added in front of it.
        word: The word after ``fold``, to find similar words. None for numbers, short words and
            phrases.
    """

    patterns: tuple[str, ...]
    word: str | None = None


def parse_terms(text: str) -> list[Term]:
    """Split a search text into terms: words, and phrases in quotes.

    The search finds only texts that contain all terms. An empty search text has no terms. Words
    after the tenth and phrases after the fifth are ignored.

    Raises:
        UnsearchableError: The text is not empty but has no letter and no digit.
    """
    phrases = [" ".join(fold(one).split()) for one in _PHRASE.findall(text)]
    phrases = [one for one in phrases if one]
    rest = _PHRASE.sub(" ", text)
    whole = [Term(patterns=(f"%{_escape(one)}%",)) for one in phrases if _USABLE.search(one)]
    # The index cannot find a phrase of one or two letters. So such a phrase is searched as a word.
    rest = _ENDS.sub(" ", f" {rest} ")
    rest = " ".join([rest, *(one for one in phrases if not _USABLE.search(one))])
    terms = [*whole[:MOST_PHRASES], *_words(rest if rest.strip() or not whole else "")]
    if not terms and text.strip():
        raise UnsearchableError
    return terms


def _words(text: str) -> list[Term]:
    return [
        Term(patterns=tuple(patterns), word=_word_of(patterns))
        for patterns in search_patterns(text)
    ]


def _word_of(patterns: list[str]) -> str | None:
    """Return the word of a term, so that the search can also find similar words.

    The result is None if the term is not exactly one word of at least four letters.
    """
    if len(patterns) != 1:
        return None
    word = patterns[0].strip("% ")
    return word if _WORD.fullmatch(word) else None


def _escape(term: str) -> str:
    return _WILDCARD.sub(r"\\\1", term)


MOST_PEOPLE = 100
"""The largest number of people that are found for one term, or for all terms together."""
_OF_ALL = -1


@dataclass(frozen=True, kw_only=True)
class TermPeople:
    """The people whose names or phone numbers contain one search term, or all search terms.

    Attributes:
        ids: The ids of the people, but at most ``MOST_PEOPLE`` ids.
        is_complete: True if ``ids`` has all these people; False if there are more.
    """

    ids: tuple[UUID, ...]
    is_complete: bool


NOBODY = TermPeople(ids=(), is_complete=True)


async def find_people(
    session: AsyncSession, terms: Sequence[Term]
) -> tuple[list[TermPeople], TermPeople]:
    """Find the people whose names or phone numbers contain the terms.

    Returns:
        The people of each term, in the order of ``terms``, and the people whose names or phone
        numbers contain all terms.
    """
    named = [
        or_(*(Contact.search_text.like(pattern) for pattern in term.patterns)) for term in terms
    ]
    wanted = dict(enumerate(named))
    if len(terms) > 1:
        wanted[_OF_ALL] = and_(*named)
    parts = [
        select(literal(place).label("place"), Contact.id)
        .where(condition, Contact.deleted_at.is_(None))
        .limit(MOST_PEOPLE + 1)
        .subquery(f"part{place + 1}")
        for place, condition in wanted.items()
    ]
    found: dict[int, list[UUID]] = {place: [] for place in wanted}
    for place, contact_id in await session.execute(union_all(*(select(part) for part in parts))):
        found[place].append(contact_id)
    people = [
        TermPeople(ids=tuple(ids[:MOST_PEOPLE]), is_complete=len(ids) <= MOST_PEOPLE)
        for ids in (found[place] for place in wanted)
    ]
    return people[: len(terms)], people[-1]
