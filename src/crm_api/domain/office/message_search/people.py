"""Find the people whose names or phone numbers contain the terms of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.office.message_search.terms import Term
from crm_api.domain.people.models.contacts import Contact

MOST_PEOPLE = 100
"""The largest number of people that are found for one term, or for all terms together."""
_OF_ALL = -1


@dataclass(frozen=True, kw_only=True)
class TermPeople:
    """The people whose names or phone numbers contain a term, or all terms.

    Attributes:
        ids: The ids of at most ``MOST_PEOPLE`` contacts.
        is_complete: Whether these are all such people.
    """

    ids: tuple[UUID, ...]
    is_complete: bool


NOBODY = TermPeople(ids=(), is_complete=True)


async def find_people(
    session: AsyncSession, terms: Sequence[Term]
) -> tuple[list[TermPeople], TermPeople]:
    """Find people with the trigram index of contacts.

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
