"""List and count the conversations of the inbox."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.rows import ME, InboxRow, read_rows
from crm_api.domain.office.inbox.selection import (
    NEWEST_FIRST,
    NOT_WAITING,
    WAITING_FIRST,
    InboxFilter,
    InboxSort,
    Order,
    page_of,
)
from crm_api.platform.database import UnitOfWork, typed_row

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
    """Return a page of conversations as the caller sees them.

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
    """Return up to ``limit`` conversations after a position, in their order."""
    reading = _Reading(uow, wanted, caller_id=caller_id, now=now)
    if sort is InboxSort.NEWEST:
        return await reading.page(NEWEST_FIRST, after=after, limit=limit)
    rows = []
    if after is None or after[0] < _MIDDLE:
        rows = await reading.page(WAITING_FIRST, after=after, limit=limit)
        after = None
    if len(rows) < limit and wanted.wanted_states != (ConversationState.WAITING,):
        back = None if after is None else (_mirrored(after[0]), after[1])
        rows += await reading.page(NOT_WAITING, after=back, limit=limit - len(rows))
    return rows


class _Reading:
    """Reads pages of one list in different orders."""

    def __init__(
        self, uow: UnitOfWork, wanted: InboxFilter, *, caller_id: UUID, now: datetime
    ) -> None:
        self._uow = uow
        self._wanted = wanted
        self._caller_id = caller_id
        self._now = now

    async def page(self, order: Order, *, after: Position | None, limit: int) -> list[InboxRow]:
        values = {**self._wanted.values, "limit": limit}
        if after is not None:
            values |= {"after": after[0], "after_id": after[1]}
        return await read_rows(
            self._uow,
            page_of(self._wanted, order, is_first=after is None),
            values,
            caller_id=self._caller_id,
            now=self._now,
        )


def _mirrored(instant: datetime) -> datetime:
    """Return the instant that is as long before the year 9000 as ``instant`` is after 1970."""
    return _FAR - (instant - _EPOCH)


def _place_among_waiting(row: InboxRow) -> Position:
    """Return the position of a row when those who wait longest come first.

    A row whose person does not wait gets an instant far in the future; the later its last activity,
    the earlier.
    """
    if row.waiting_since is not None:
        return row.waiting_since, row.id
    return _mirrored(row.last_activity_at), row.id


def _last_activity(row: InboxRow) -> Position:
    return row.last_activity_at, row.id


PLACES = {InboxSort.NEWEST: _last_activity, InboxSort.WAITING_LONGEST: _place_among_waiting}
"""The position of a row in each order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCounts:
    """The lengths of the lists of the inbox; the last three of waiting and open conversations."""

    waiting: int
    open: int
    snoozed: int
    unread: int
    mine: int
    unassigned: int


COUNTS = text(f"""
    WITH {ME}
    SELECT count(*) FILTER (WHERE k.state = 'waiting') AS waiting,
           count(*) FILTER (WHERE k.state = 'open') AS open,
           count(*) FILTER (WHERE k.state = 'snoozed') AS snoozed,
           count(*) FILTER (WHERE k.state <> 'snoozed' AND k.last_incoming_at
               > coalesce(r.read_until, (SELECT since FROM me))) AS unread,
           count(*) FILTER (WHERE k.state <> 'snoozed'
               AND k.assignee_id = CAST(:caller_id AS uuid)) AS mine,
           count(*) FILTER (WHERE k.state <> 'snoozed' AND k.assignee_id IS NULL) AS unassigned
    FROM conversation k
    LEFT JOIN conversation_read r
      ON r.caller_id = CAST(:caller_id AS text) AND r.conversation_id = k.id
    WHERE k.state <> 'done'
""")


async def count_conversations(uow: UnitOfWork, *, caller_id: UUID) -> InboxCounts:
    """Count the conversations that are not done, as the caller sees them."""
    found = await uow.session.execute(COUNTS, {"caller_id": str(caller_id)})
    return typed_row(InboxCounts, found.one())
