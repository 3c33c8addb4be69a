"""List the conversations of the inbox."""

from datetime import UTC, datetime
from uuid import UUID

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.office.inbox.pages import page_of
from crm_api.domain.office.inbox.rows import InboxRow, read_rows
from crm_api.domain.office.inbox.selection import (
    NEWEST_FIRST,
    NOT_WAITING,
    WAITING_FIRST,
    InboxFilter,
    InboxSort,
    Order,
)
from crm_api.platform.database import UnitOfWork

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
    """Return up to ``limit`` conversations after a position, in the order ``sort``."""
    reading = _Reading(uow, wanted, caller_id=caller_id, now=now)
    if sort is InboxSort.NEWEST:
        return await reading.page(NEWEST_FIRST, after=after, limit=limit)
    rows = []
    if after is None or after[0] < _MIDDLE:
        if WAITING_FIRST.states_of(wanted):
            rows = await reading.page(WAITING_FIRST, after=after, limit=limit)
        after = None
    if len(rows) < limit and NOT_WAITING.states_of(wanted):
        back = None if after is None else (_mirrored(after[0]), after[1])
        rows += await reading.page(NOT_WAITING, after=back, limit=limit - len(rows))
    return rows


class _Reading:
    """Reads pages of the conversations that a filter selects, each page in a given order."""

    def __init__(
        self, uow: UnitOfWork, wanted: InboxFilter, *, caller_id: UUID, now: datetime
    ) -> None:
        self._uow = uow
        self._wanted = wanted
        self._caller_id = caller_id
        self._now = now

    async def page(self, order: Order, *, after: Position | None, limit: int) -> list[InboxRow]:
        values = dict(self._wanted.values)
        if after is not None:
            values |= {"after": after[0], "after_id": after[1]}
        return await read_rows(
            self._uow,
            page_of(self._wanted, order, is_first=after is None, limit=limit),
            values,
            caller_id=self._caller_id,
            now=self._now,
        )


def _mirrored(instant: datetime) -> datetime:
    """Reverse the order of instants: a later ``instant`` gives an earlier result.

    The result is as long before the year 9000 as ``instant`` is after 1970. Calling the function
    with the result returns ``instant`` again.
    """
    return _FAR - (instant - _EPOCH)


def _place_among_waiting(row: InboxRow) -> Position:
    """Return the position of a conversation in the order ``WAITING_LONGEST``.

    The position of a conversation whose person waits is the beginning of the waiting. Other
    conversations get a position far in the future, so they come last. Among these, a later activity
    gives an earlier position.
    """
    if row.waiting_since is not None:
        return row.waiting_since, row.id
    return _mirrored(row.last_activity_at), row.id


def _last_activity(row: InboxRow) -> Position:
    return row.last_activity_at, row.id


PLACES = {InboxSort.NEWEST: _last_activity, InboxSort.WAITING_LONGEST: _place_among_waiting}
"""For each order, the function that returns the position of a conversation."""
