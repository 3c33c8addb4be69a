"""List the messages of all conversations, newest first, and search for words in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, InvalidCursorError, Page
from crm_api.domain.messaging.models.conversations import Activity
from crm_api.domain.office.message_search.people import find_people
from crm_api.domain.office.message_search.selection import (
    MessageFilter,
    MessageSelection,
    Position,
)
from crm_api.domain.office.message_search.terms import Term, parse_terms
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import smallest_id_at

WINDOWS = (2_000, 100_000)
"""The numbers of messages that a list without words reads in order, one try after the other."""
WORD_WINDOW = 3_000
"""The number of written messages that a search reads in order before it looks up all matches."""
_EXACT, _SIMILAR = "=", "~"
"""The part of the results in which a page ended: messages with all words, or with similar words."""

SPANS = (timedelta(days=45), timedelta(days=150), timedelta(days=450), None)
"""The spans before now in which messages with similar words are looked for, one after the other."""

# A plan without known values would read all ids of the span instead of the index of words.
SET_SIMILARITY = text("""
    SELECT set_config('pg_trgm.word_similarity_threshold', CAST(:least AS text), true),
           set_config('plan_cache_mode', 'force_custom_plan', true)
""")


@dataclass(frozen=True, kw_only=True)
class MessagePosition:
    """Where a page ended.

    Attributes:
        is_similar: The page ended among the messages that have only similar words.
        after: The last message of the page or, if few messages match, the last that was read.
    """

    is_similar: bool
    after: Position


@dataclass(frozen=True, kw_only=True)
class FoundMessages:
    """Messages in order, and the position from which the list continues; None at its end."""

    rows: Sequence[Activity]
    next: MessagePosition | None


async def list_messages(
    uow: UnitOfWork, wanted: MessageFilter, *, with_names: bool, cursor: str | None, limit: int
) -> Page[Activity]:
    """List the messages that match a filter, newest first.

    With ``wanted.q``, messages with all words come first. Messages with similar words follow, if
    the others do not fill the page. A page without ``q`` may have fewer than ``limit`` messages
    although others follow, if very few match.

    Args:
        with_names: Also look for the words in the names and numbers of people.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
        UnsearchableError: ``wanted.q`` has no letter and no digit.
    """
    terms = parse_terms(wanted.q)
    cursors = Cursors("all messages", wanted=wanted, with_names=with_names)
    begin = _read_position(cursors, cursor)
    selection = await select_messages(uow.session, wanted, terms, with_names=with_names)
    found = await find_messages(uow.session, selection, begin=begin, limit=limit)
    return Page(list(found.rows), None if found.next is None else _write(cursors, found.next))


async def select_messages(
    session: AsyncSession, wanted: MessageFilter, terms: Sequence[Term], *, with_names: bool
) -> MessageSelection:
    """Return the selection of a filter; look up the people whom its terms name."""
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
    """Find up to ``limit`` messages from a position on; None is the beginning of the list."""
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
    """Read messages in order until enough match or the largest window is read."""
    rows: list[Activity] = []
    end: Position | None = None
    for size in WINDOWS:
        rows = await _read(session, selection.in_order(after, size=size).limit(limit + 1))
        if len(rows) > limit:
            return _page(rows, limit=limit, exact=limit)
        last = (await session.execute(selection.end_of_window(after, size=size))).one_or_none()
        end = None if last is None else (last[0], last[1])
        if end is None:
            break
    rest = None if end is None else MessagePosition(is_similar=False, after=end)
    return FoundMessages(rows=rows, next=rest)


async def _with_all_words(
    session: AsyncSession, selection: MessageSelection, *, after: Position | None, limit: int
) -> list[Activity]:
    near = await _read(session, selection.in_order(after, size=WORD_WINDOW).limit(limit))
    if len(near) == limit:
        return near
    return await _read(session, selection.by_words(after, limit=limit))


async def with_similar_words(
    session: AsyncSession, selection: MessageSelection, *, after: Position | None, limit: int
) -> list[Activity]:
    """Return messages with words similar to the terms, newest first.

    A word may resemble many others, so the messages that were stored last are searched first. A
    message is never newer than the time at which it was stored. So the page is complete as soon as
    all its messages are newer than everything that was stored before the searched span.
    """
    await session.execute(SET_SIMILARITY, {"least": str(selection.similarity)})
    found: list[Activity] = []
    high: UUID | None = None
    ahead = clock.ahead()
    begin = clock.wall_now() if after is None else min(clock.wall_now(), after[0] - ahead)
    for span in SPANS:
        since = None if span is None else begin - span
        low = None if since is None else smallest_id_at(since)
        similar = selection.by_similar_words(after, limit=limit, ids=(low, high))
        found = sorted([*found, *await _read(session, similar)], key=_place, reverse=True)[:limit]
        if since is not None and len(found) == limit and found[-1].occurred_at >= since + ahead:
            break
        high = low
    return found


def _place(message: Activity) -> Position:
    return message.occurred_at, message.id


async def _read(session: AsyncSession, statement: Select[Activity]) -> list[Activity]:
    return list(await session.scalars(statement))


def _read_position(cursors: Cursors, cursor: str | None) -> MessagePosition | None:
    found = cursors.read_text(cursor)
    if found is None:
        return None
    key, row_id = found
    try:
        at = datetime.fromisoformat(key[1:]).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidCursorError(
            "This cursor does not belong to this list. Leave it out to begin with the first page."
        ) from error
    return MessagePosition(is_similar=key[:1] == _SIMILAR, after=(at, row_id))


def _write(cursors: Cursors, position: MessagePosition) -> str:
    at, row_id = position.after
    return cursors.write(f"{_SIMILAR if position.is_similar else _EXACT}{at.isoformat()}", row_id)
