"""Find the conversations that contain certain words, or whose people have certain names."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.office.message_search.listing import (
    newest_with_all_words,
    select_messages,
)
from crm_api.domain.office.message_search.selection import (
    MessageFilter,
    MessageSelection,
)
from crm_api.domain.office.message_search.similar_words import with_similar_words
from crm_api.domain.office.message_search.terms import Term
from crm_api.domain.people.models.contacts import Contact

MOST_MESSAGES, MOST_SIMILAR = 200, 100
"""A search reads the newest 200 messages that contain the terms, and the newest 100 messages with
similar words. The conversations of these messages are found."""
MOST_NAMED = 200
"""The largest number of conversations that are found by a name or a phone number."""


class ConversationSearch:
    """Finds the conversations that match the terms of a search.

    A conversation matches in two cases:

    - The person's name and number together contain all terms.
    - One message contains all terms that are in neither the name nor the number of the person.

    Messages of people and users are searched. Messages of campaigns are not searched.
    """

    def __init__(self, session: AsyncSession, selection: MessageSelection) -> None:
        self._session = session
        self._selection = selection

    @classmethod
    async def begin(
        cls, session: AsyncSession, terms: Sequence[Term], *, with_names: bool
    ) -> "ConversationSearch":
        """Create the search for these terms.

        Args:
            session: The database session.
            terms: The terms.
            with_names: True to find conversations also by the person's name and phone number.
        """
        found = await select_messages(session, MessageFilter(), terms, with_names=with_names)
        return cls(session, found)

    async def with_all_terms(self) -> set[UUID]:
        """Return the ids of conversations in which all terms occur."""
        selection, limit = self._selection, MOST_MESSAGES

        async def in_order(size: int) -> list[UUID | None]:
            statement = selection.conversations_in_order(None, size=size, limit=limit)
            return list(await self._session.scalars(statement))

        async def by_words() -> list[UUID | None]:
            statement = selection.conversations_by_words(None, limit=limit)
            return list(await self._session.scalars(statement))

        found = await newest_with_all_words(
            selection, limit=limit, in_order=in_order, by_words=by_words
        )
        ids = {one for one in found if one is not None}
        named = named_conversations(selection)
        return {*ids, *(() if named is None else await self._session.scalars(named))}

    async def with_similar_words(self) -> set[UUID]:
        """Return the ids of conversations in which words similar to the terms occur."""
        if not self._selection.has_typos:
            return set()
        found = await with_similar_words(
            self._session, self._selection, after=None, limit=MOST_SIMILAR
        )
        return {one.conversation_id for one in found if one.conversation_id is not None}


def named_conversations(selection: MessageSelection) -> Select[UUID] | None:
    """Return a query for conversations with people whose names or phone numbers contain all terms.

    Returns:
        None if there are no such people.
    """
    people = selection.people_of_all
    if people.is_complete:
        if not people.ids:
            return None
        of_people = Conversation.contact_id == func.any(literal(list(people.ids), ARRAY(Uuid())))
        return select(Conversation.id).where(of_people).limit(MOST_NAMED)
    conditions = [
        or_(*(Contact.search_text.like(pattern) for pattern in term.patterns))
        for term in selection.terms
    ]
    return (
        select(Conversation.id)
        .join(Contact, Contact.id == Conversation.contact_id)
        .where(*conditions, Contact.deleted_at.is_(None))
        .limit(MOST_NAMED)
    )
