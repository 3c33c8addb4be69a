"""List the conversations of the inbox.

Usually, an index has the conversations in the order of the list. So PostgreSQL reads them from this
index, and stops when the page is full. If a filter selects few conversations, PostgreSQL reads all
of them and sorts them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.rows import InboxRow, read_rows
from crm_api.domain.office.inbox.selection import (
    NEWEST_FIRST,
    NOBODY,
    NOT_WAITING,
    WAITING_FIRST,
    InboxFilter,
    InboxSort,
    Order,
    conditions_of,
    flagged,
    has_flag,
    in_states,
)
from crm_api.platform.database import UnitOfWork

FEW_NUMBERS = 3_000
"""If at most this many phone numbers have the flag of the filter, their conversations are looked up
by number. Otherwise it is faster to read the conversations in order and to check the flag of each.
"""
_ARE_FEW = f"(SELECT count(*) FROM flagged) <= {FEW_NUMBERS}"


def page_of(wanted: InboxFilter, order: Order, *, is_first: bool, limit: int) -> str:
    """Return the SQL query for one page of conversations.

    The query has two columns: ``id``, the id of the conversation, and ``place``, its position in
    the page, from 1. The limit is written into the SQL text, because PostgreSQL might choose a slow
    plan if the limit were a parameter.
    """
    page = _Page(wanted, order, is_first=is_first, limit=limit)
    rows, numbers = page.in_order(), ""
    if wanted.flag is not None and not page.is_narrow:
        numbers = f"WITH flagged AS MATERIALIZED ({flagged(wanted)} LIMIT {FEW_NUMBERS + 1}) "
        rows = (
            f"({page.by_numbers()}) UNION ALL "
            f"(SELECT o.id, o.key FROM ({rows}) o WHERE NOT {_ARE_FEW})"
        )
    return (
        f"{numbers}SELECT id, row_number() OVER (ORDER BY {order.words}) AS place "
        f"FROM ({rows}) b ORDER BY {order.words} LIMIT {limit}"
    )


class _Page:
    """Builds the SQL queries that together find the conversations of one page."""

    def __init__(self, wanted: InboxFilter, order: Order, *, is_first: bool, limit: int) -> None:
        self._wanted = wanted
        self._order = order
        self._limit = limit
        self._states = order.states_of(wanted)
        self._conditions = conditions_of(replace(wanted, flag=None))
        if order.condition is not None:
            self._conditions.append(order.condition)
        if not is_first:
            self._conditions.append(order.after)
        self.is_narrow = wanted.contact_id is not None or wanted.ids is not None
        """True if the filter selects only a few conversations, so that sorting them is fast."""

    def in_order(self) -> str:
        """Return the query that reads conversations in order, and stops when the page is full."""
        wanted, is_waiting = self._wanted, self._order is WAITING_FIRST
        each = [[state] for state in self._states]
        if self.is_narrow:
            return self._first([self._states])
        if wanted.campaign_id is not None or isinstance(wanted.assignee, UUID):
            # A user or a campaign has only a few waiting conversations. No index contains these
            # conversations in the order of the list, so they are sorted.
            return self._first([self._states] if is_waiting else each)
        is_done = ConversationState.DONE in self._states
        if wanted.assignee == NOBODY and not is_waiting and not is_done:
            return self._first(each)
        rows = self._first([self._states] if wanted.phone is not None else each, line="l.id")
        lines = "" if wanted.line_id is None else " WHERE l.id = :line_id"
        return f"SELECT r.id, r.key FROM line l CROSS JOIN LATERAL ({rows}) r{lines}"

    def by_numbers(self) -> str:
        """Return a query for the conversations of the phone numbers with a flag.

        The numbers are in the subquery ``flagged``, which ``page_of`` adds. For more than
        ``FEW_NUMBERS`` numbers, the result is empty, and the query of ``in_order`` is used instead.
        ``OFFSET 0`` makes PostgreSQL look up the conversations by number.
        """
        met = [_ARE_FEW, *in_states(self._states), *self._conditions]
        if self._wanted.line_id is not None:
            met.append("l.id = :line_id")
        order = self._order
        return (
            f"SELECT k.id, k.{order.column} AS key FROM flagged f CROSS JOIN line l "
            "CROSS JOIN LATERAL (SELECT * FROM conversation c "
            "WHERE c.line_id = l.id AND c.phone = f.phone OFFSET 0) k "
            f"WHERE {' AND '.join(met)} ORDER BY {order.words} LIMIT {self._limit}"
        )

    def _first(self, parts: Iterable[Sequence[ConversationState]], *, line: str = "") -> str:
        """Return the query for the first conversations in certain states, in the order of the page.

        States are constants in the SQL text, because partial indexes need this.

        Args:
            parts: Lists of states. The query selects the conversations of each list separately, and
                combines them with UNION ALL. If a list has only one state, an index has its
                conversations in the order of the page.
            line: An SQL expression for the line's id; empty to use the filter's ``line_id``.
        """
        conditions = list(self._conditions)
        if line:
            conditions.append(f"k.line_id = {line}")
        elif self._wanted.line_id is not None:
            conditions.append("k.line_id = :line_id")
        in_order, limit = f"ORDER BY {self._order.words}", f"LIMIT {self._limit}"
        columns, end = "k.id", f"{in_order} {limit}"
        if self._wanted.flag is not None:
            columns, end = "k.phone, k.id", in_order
        parts_of = [
            f"(SELECT {columns}, k.{self._order.column} AS key FROM conversation k "
            f"WHERE {' AND '.join([*in_states(part), *conditions]) or 'true'} {end})"
            for part in parts
        ]
        rows = f"SELECT * FROM ({' UNION ALL '.join(parts_of)}) p {in_order}"
        if self._wanted.flag is None:
            return f"{rows} {limit}"
        # Without OFFSET 0, PostgreSQL would read the phone numbers with the flag once for each part
        # of the UNION.
        met = has_flag(self._wanted)
        return f"SELECT id, key FROM ({rows} OFFSET 0) k WHERE {met} {in_order} {limit}"


_EPOCH, _MIDDLE, _FAR = (datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 5000, 9000))

Position = tuple[datetime, UUID]


async def list_conversations(
    uow: UnitOfWork,
    wanted: InboxFilter,
    *,
    sort: InboxSort,
    caller_id: UUID,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[InboxRow]:
    """Return a page of conversations, as the caller sees them.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("conversations", wanted=wanted, sort=sort)
    after = cursors.read(cursor)
    rows = await read_conversations(
        uow, wanted, sort=sort, caller_id=caller_id, after=after, limit=limit + 1, now=now
    )
    return cursors.page(rows, limit=limit, position=PLACES[sort])


async def read_conversations(
    uow: UnitOfWork,
    wanted: InboxFilter,
    *,
    sort: InboxSort,
    caller_id: UUID,
    after: Position | None,
    limit: int,
    now: datetime,
) -> list[InboxRow]:
    """Return up to ``limit`` conversations in the order ``sort``.

    ``after`` is the position of the last conversation of the previous page; None for the first
    page.
    """

    async def page(order: Order, *, begin: Position | None, most: int) -> list[InboxRow]:
        values = dict(wanted.values)
        if begin is not None:
            values |= {"after": begin[0], "after_id": begin[1]}
        query = page_of(wanted, order, is_first=begin is None, limit=most)
        return await read_rows(uow, query, values, caller_id=caller_id, now=now)

    if sort is InboxSort.NEWEST:
        return await page(NEWEST_FIRST, begin=after, most=limit)
    rows = []
    if after is None or after[0] < _MIDDLE:
        if WAITING_FIRST.states_of(wanted):
            rows = await page(WAITING_FIRST, begin=after, most=limit)
        after = None
    if len(rows) < limit and NOT_WAITING.states_of(wanted):
        back = None if after is None else (_mirrored(after[0]), after[1])
        rows += await page(NOT_WAITING, begin=back, most=limit - len(rows))
    return rows


def _mirrored(instant: datetime) -> datetime:
    """Reverse the order of instants: a later ``instant`` gives an earlier result.

    The result is ``9000-01-01 - (instant - 1970-01-01)``. If the function is applied to the result,
    it returns ``instant`` again.
    """
    return _FAR - (instant - _EPOCH)


def _place_among_waiting(row: InboxRow) -> Position:
    """Return the position of a conversation in the order ``WAITING_LONGEST``.

    If the person waits, the position is the instant at which the waiting began. If not, it is an
    instant far in the future, so that the conversation comes after those in which a person waits.
    Of these conversations, the one with the latest activity comes first.
    """
    if row.waiting_since is not None:
        return row.waiting_since, row.id
    return _mirrored(row.last_activity_at), row.id


def _last_activity(row: InboxRow) -> Position:
    return row.last_activity_at, row.id


PLACES = {InboxSort.NEWEST: _last_activity, InboxSort.WAITING_LONGEST: _place_among_waiting}
"""For each order, the function that returns the position of a conversation."""
