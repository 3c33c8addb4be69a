"""Search the conversations of the inbox by names, phone numbers and words of messages."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.office.inbox.listing import PLACES, Position, read_conversations
from crm_api.domain.office.inbox.rows import InboxRow
from crm_api.domain.office.inbox.selection import InboxFilter, InboxSort
from crm_api.domain.office.message_search.conversations import ConversationSearch
from crm_api.domain.office.message_search.terms import Term
from crm_api.platform.database import UnitOfWork

_EXACT, _SIMILAR = "=", "~"
"""The first character of a cursor. It shows in which part of the results the page ended: ``=`` in
the conversations with all terms, ``~`` in the conversations with similar words."""


async def select_found(
    uow: UnitOfWork, wanted: InboxFilter, terms: Sequence[Term], *, with_names: bool
) -> InboxFilter:
    """Return the filter, restricted to conversations in which all terms of a search occur.

    Conversations that have only similar words are left out. The search for similar words has a time
    limit, so two searches can find different conversations.

    Args:
        with_names: Also search the names and phone numbers of people.
    """
    search = await ConversationSearch.begin(uow.session, terms, with_names=with_names)
    return replace(wanted, ids=tuple(sorted(await search.with_all_terms())))


async def search_conversations(
    uow: UnitOfWork,
    wanted: InboxFilter,
    terms: Sequence[Term],
    *,
    with_names: bool,
    sort: InboxSort,
    caller_id: UUID,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[InboxRow]:
    """Return a page of the conversations that match the terms of a search.

    First come the conversations in which all terms occur, in the order ``sort``. Then come the
    conversations that have only similar words, again in this order.

    Args:
        with_names: Also search the names and phone numbers of people.
        cursor: Where the previous page ended.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors(
        "conversation search",
        wanted=wanted,
        terms=[term.patterns for term in terms],
        with_names=with_names,
        sort=sort,
    )
    part, after = cursors.read_marked(cursor) or (_EXACT, None)

    async def read(
        ids: set[UUID], *, begin: Position | None, most: int
    ) -> list[tuple[str, InboxRow]]:
        mark = _EXACT if ids is exact else _SIMILAR
        rows = await read_conversations(
            uow,
            replace(wanted, ids=tuple(sorted(ids))),
            sort=sort,
            caller_id=caller_id,
            after=begin,
            limit=most,
            now=now,
        )
        return [(mark, row) for row in rows]

    search = await ConversationSearch.begin(uow.session, terms, with_names=with_names)
    exact = await search.with_all_terms()
    rows: list[tuple[str, InboxRow]] = []
    if part == _EXACT:
        rows = await read(exact, begin=after, most=limit + 1)
        after = None
    if len(rows) <= limit:
        similar = await search.with_similar_words() - exact
        if similar:
            rows += await read(similar, begin=after, most=limit + 1 - len(rows))
    shown = rows[:limit]
    if len(rows) <= limit:
        return Page([row for _, row in shown], None)
    mark, last = shown[-1]
    return Page([row for _, row in shown], cursors.write_marked(mark, PLACES[sort](last)))
