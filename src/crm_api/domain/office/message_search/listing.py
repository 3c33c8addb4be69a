"""List, search and export the messages of all conversations, newest first."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Uuid

from crm_api.domain.kit.csv_export import copy_rows, write_csv
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.conversations.export import COLUMNS, HEADER
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.office.message_search.selection import MessageFilter, MessageSelection, Position
from crm_api.domain.office.message_search.similar_words import with_similar_words
from crm_api.domain.office.message_search.terms import Term, find_people, parse_terms
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

WINDOWS = (2_000, 100_000)
"""Without search words, a page is filled from the 2,000 newest messages after the cursor. If too
few of these messages match, it is filled from the 100,000 newest."""
WORD_WINDOW, NAME_WINDOW, LARGEST_WORD_WINDOW = 1_000, 3_000, 16_000
"""How many of the newest messages a search with words reads. Messages of campaigns are not counted.
``WORD_WINDOW`` is for the first try. The other two are the maxima for the second try:
``NAME_WINDOW`` if the search must check the name of each person, else ``LARGEST_WORD_WINDOW``."""
Row = TypeVar("Row")
_EXACT, _SIMILAR = "=", "~"
"""The first character of a cursor. It shows in which part of the results the page ended: ``=`` in
the messages with all words, ``~`` in the messages with similar words."""


@dataclass(frozen=True, kw_only=True)
class MessagePosition:
    """Where a page of search results ended. The next page begins after this position.

    Attributes:
        is_similar: True if the last message contains only similar words, not all search words.
        after: The position of the last message of the page. If the search stopped before the page
            was full, this is the position of the last message that the search read.
    """

    is_similar: bool
    after: Position


@dataclass(frozen=True, kw_only=True)
class FoundMessages:
    """Messages, newest first, and the position at which the list continues.

    Attributes:
        rows: The messages.
        next: The position after which the next page begins; None at the end of the list.
    """

    rows: Sequence[Activity]
    next: MessagePosition | None


async def list_messages(
    uow: UnitOfWork, wanted: MessageFilter, *, with_names: bool, cursor: str | None, limit: int
) -> Page[Activity]:
    """List the messages that match a filter, newest first.

    With search words (``wanted.q``), messages with all words come first, then messages with similar
    words. Without search words, a page may have fewer than ``limit`` messages although a next page
    follows.

    Args:
        with_names: Also search the names and phone numbers of people.
        cursor: Where the previous page ended.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
        UnsearchableError: ``wanted.q`` has no letter and no digit.
    """
    terms = parse_terms(wanted.q)
    cursors = Cursors("all messages", wanted=wanted, with_names=with_names)
    begun = cursors.read_marked(cursor)
    begin = begun and MessagePosition(is_similar=begun[0] == _SIMILAR, after=begun[1])
    selection = await select_messages(uow.session, wanted, terms, with_names=with_names)
    found = await find_messages(uow.session, selection, begin=begin, limit=limit)
    if found.next is None:
        return Page(list(found.rows), None)
    mark = _SIMILAR if found.next.is_similar else _EXACT
    return Page(list(found.rows), cursors.write_marked(mark, found.next.after))


async def select_messages(
    session: AsyncSession, wanted: MessageFilter, terms: Sequence[Term], *, with_names: bool
) -> MessageSelection:
    """Return an object that builds the SQL statements for a search of messages.

    Args:
        session: The session.
        wanted: The filter.
        terms: The terms of the filter's search text.
        with_names: True to also find the messages of people whose names or phone numbers contain
            the terms. This function looks up these people.
    """
    if not (terms and with_names):
        return MessageSelection(wanted=wanted, terms=terms)
    people, of_all = await find_people(session, terms)
    return MessageSelection(wanted=wanted, terms=terms, people=people, people_of_all=of_all)


async def find_messages(
    session: AsyncSession,
    selection: MessageSelection,
    *,
    begin: MessagePosition | None,
    limit: int,
) -> FoundMessages:
    """Find the next page of the messages that a selection (filter and search terms) selects.

    The page has at most ``limit`` messages.

    Args:
        begin: Where the previous page ended; None for the first page.
    """
    after = None if begin is None else begin.after
    if not selection.terms:
        return await _next_in_order(session, selection, after=after, limit=limit)
    is_similar = begin is not None and begin.is_similar
    rows: list[Activity] = []
    if not is_similar:
        rows = await _with_all_words(session, selection, after=after, limit=limit + 1)
        if len(rows) > limit:
            return _page(rows, limit=limit, exact=limit)
        after = None
    exact = len(rows)
    if selection.has_typos:
        rows += await with_similar_words(session, selection, after=after, limit=limit + 1 - exact)
    return _page(rows, limit=limit, exact=exact)


def _page(rows: list[Activity], *, limit: int, exact: int) -> FoundMessages:
    if len(rows) <= limit:
        return FoundMessages(rows=rows, next=None)
    last = rows[limit - 1]
    end = MessagePosition(is_similar=limit > exact, after=(last.occurred_at, last.id))
    return FoundMessages(rows=rows[:limit], next=end)


async def _next_in_order(
    session: AsyncSession, selection: MessageSelection, *, after: Position | None, limit: int
) -> FoundMessages:
    """Return the next page of the messages that match a filter without search words.

    The function searches the next 2,000 messages. If too few of them match to fill the page, the
    function searches the next 100,000 messages instead (``WINDOWS``).
    """
    rows: list[Activity] = []
    end: Position | None = None
    for size in WINDOWS:
        rows = await read_messages(session, selection.in_order(after, size=size).limit(limit + 1))
        if len(rows) > limit:
            return _page(rows, limit=limit, exact=limit)
        last = (await session.execute(selection.end_of_window(after, size=size))).one_or_none()
        end = None if last is None else (last[0], last[1])
        if end is None:
            break
    rest = None if end is None else MessagePosition(is_similar=False, after=end)
    return FoundMessages(rows=rows, next=rest)


async def newest_with_all_words(
    selection: MessageSelection,
    *,
    limit: int,
    in_order: Callable[[int], Awaitable[list[Row]]],
    by_words: Callable[[], Awaitable[list[Row]]],
) -> list[Row]:
    """Return up to ``limit`` matches of a search, newest first.

    A message matches if it contains all terms. The caller's two functions return each match as a
    message, or as the id of its conversation. The newest messages are read first. If fewer than
    ``limit`` of the read messages match, all matches are looked up in an index.

    Args:
        in_order: Reads the given number of messages, newest first, and returns up to ``limit``
            matches.
        by_words: Looks up all matches in the index, and returns the newest ``limit`` matches.
    """
    size = WORD_WINDOW
    near = await in_order(size)
    if near and len(near) < limit:
        size = size * limit * 3 // (2 * len(near))
        if size <= (NAME_WINDOW if selection.has_many_people else LARGEST_WORD_WINDOW):
            near = await in_order(size)
    return near if len(near) >= limit else await by_words()


async def _with_all_words(
    session: AsyncSession, selection: MessageSelection, *, after: Position | None, limit: int
) -> list[Activity]:
    async def in_order(size: int) -> list[Activity]:
        return await read_messages(session, selection.in_order(after, size=size).limit(limit))

    async def by_words() -> list[Activity]:
        return await read_messages(session, selection.by_words(after, limit=limit))

    return await newest_with_all_words(selection, limit=limit, in_order=in_order, by_words=by_words)


async def read_messages(session: AsyncSession, statement: Select[Activity]) -> list[Activity]:
    """Run a statement that selects messages, and return these messages."""
    return list(await session.scalars(statement))


PAGE = 1_000
"""The number of messages that are read in one transaction."""


def export_found_messages(
    new_uow: UnitOfWorkFactory, wanted: MessageFilter, *, with_names: bool
) -> AsyncIterator[bytes]:
    """Return an iterator over the parts of a CSV file with the messages that match a filter.

    The messages are in the order of ``list_messages``.

    Raises:
        UnsearchableError: ``wanted.q`` has no letter and no digit.
    """
    terms = parse_terms(wanted.q)

    async def next_page(
        uow: UnitOfWork, after: MessagePosition | None
    ) -> tuple[bytes, MessagePosition | None]:
        selection = await select_messages(uow.session, wanted, terms, with_names=with_names)
        found = await find_messages(uow.session, selection, begin=after, limit=PAGE)
        rows = await _copy_messages(uow.session, [row.id for row in found.rows])
        return rows, found.next

    return write_csv(new_uow, header=HEADER, next_page=next_page)


async def _copy_messages(session: AsyncSession, ids: Sequence[UUID]) -> bytes:
    """Return the CSV rows of these messages, in this order."""
    if not ids:
        return b""
    chosen = (
        func.unnest(bindparam("ids", list(ids), ARRAY(Uuid())))
        .table_valued("id", with_ordinality="place", name="chosen")
        .render_derived()
    )
    statement = (
        select(*COLUMNS.values())
        .select_from(chosen)
        .join(Activity, Activity.id == chosen.c.id)
        .order_by(chosen.c.place)
    )
    return await copy_rows(session, statement)
