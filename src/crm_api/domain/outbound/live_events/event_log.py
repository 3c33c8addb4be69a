"""The log of events: positions, reads in order, and deletion after a week."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows

KEPT_FOR = timedelta(days=7)
PAGE = 1_000
FORGOTTEN_AT_ONCE = 10_000


class InvalidEventIdError(InvalidError):
    """The value is not an id that a stream of events has given."""

    code = "invalid_event_id"
    title = "Invalid event id"
    example = Example(
        "Give the id of an event as a stream gave it, such as 4711-42, or none.",
        errors=[
            FieldProblem(
                pointer="/Last-Event-ID",
                code="invalid_event_id",
                detail="Give the id of an event as a stream gave it, such as 4711-42, or none.",
            )
        ],
    )


_WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


class LogPosition(NamedTuple):
    """A place in the log; positions compare in the order of events."""

    transaction_id: int
    id: int

    def __str__(self) -> str:
        """Return it as an event id."""
        return f"{self.transaction_id}-{self.id}"


def parse_position(text: str, *, pointer: str) -> LogPosition:
    """Parse an event id.

    Args:
        text: For example ``4711-42``.
        pointer: JSON pointer or parameter name, for the error.

    Raises:
        InvalidEventIdError: It is not an event id.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        detail = "Give the id of an event as a stream gave it, such as 4711-42, or none."
        fault = FieldProblem(pointer=pointer, code="invalid_event_id", detail=detail)
        raise InvalidEventIdError(detail, errors=[fault])
    return LogPosition(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One fact.

    Attributes:
        position: Its place in the log and its public id; None for an event that is not stored.
        type: An ``EventType``, or a type of a newer version, which no filter here asks for.
    """

    position: LogPosition | None
    type: str
    subject_id: UUID | None
    campaign_id: UUID | None
    data: dict[str, Any]
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Part of the log.

    Attributes:
        events: In order.
        until: Position up to which everything has been read.
        is_last: The log has nothing more now.
    """

    events: list[LoggedEvent]
    until: LogPosition
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnds:
    """Range in which the log can be read.

    Attributes:
        horizon: The last event that was deleted; None while none was.
        head: Everything before this position is final.
    """

    horizon: LogPosition | None
    head: LogPosition


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the log."""

    transaction_id: int
    id: int
    type: str
    subject_id: UUID | None
    campaign_id: UUID | None
    data: dict[str, Any]
    recorded_at: datetime

    @property
    def position(self) -> LogPosition:
        """Return its place in the log."""
        return LogPosition(self.transaction_id, self.id)


@dataclass(frozen=True, slots=True)
class StoredEnds:
    """The first transaction that is not final, and the last deleted event, if any."""

    final: int
    transaction_id: int | None
    id: int | None


# Every transaction before the oldest one that still runs has ended, committed or not.
_FINAL = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# One past the newest transaction: this server cannot have written an event there.
_FOREIGN = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

# After a copy from another server, a horizon of that server is meaningless and ignored.
READ_ENDS = text(f"""
    SELECT {_FINAL} AS final, h.transaction_id, h.id
    FROM (VALUES (1)) AS one (row)
    LEFT JOIN event_horizon h ON h.name = 'log' AND h.transaction_id < {_FOREIGN}
""")


async def find_log_ends(uow: UnitOfWork) -> LogEnds:
    """Return the range in which the log can be read."""
    ends = typed_row(StoredEnds, (await uow.session.execute(READ_ENDS)).one())
    horizon = None
    if ends.transaction_id is not None and ends.id is not None:
        horizon = LogPosition(ends.transaction_id, ends.id)
    return LogEnds(horizon=horizon, head=LogPosition(ends.final, 0))


# The boundary and the rows are read by one statement, so in one snapshot.
READ_NEW = text(f"""
    SELECT edge.final, e.transaction_id, e.id, e.type, e.subject_id, e.campaign_id, e.data,
           e.recorded_at
    FROM (SELECT {_FINAL} AS final) edge
    LEFT JOIN LATERAL (
        SELECT * FROM event
        WHERE (transaction_id, id) > (:transaction_id, :id) AND transaction_id < edge.final
        ORDER BY transaction_id, id LIMIT :limit
    ) e ON true
    ORDER BY e.transaction_id, e.id
""")


async def read_new_events(uow: UnitOfWork, *, after: LogPosition, limit: int = PAGE) -> LogPage:
    """Read the events after a position that are safe to read, in order."""
    values = {"transaction_id": after.transaction_id, "id": after.id, "limit": limit}
    found = (await uow.session.execute(READ_NEW, values)).all()
    # Without new events, one row has the boundary alone.
    events = [
        StoredEvent(
            transaction_id=row.transaction_id,
            id=row.id,
            type=row.type,
            subject_id=row.subject_id,
            campaign_id=row.campaign_id,
            data=row.data,
            recorded_at=row.recorded_at,
        )
        for row in found
        if row.id is not None
    ]
    # No event can still appear before the boundary.
    return _page(events, end=max(after, LogPosition(found[0].final, 0)), limit=limit)


READ_SPAN = text("""
    SELECT transaction_id, id, type, subject_id, campaign_id, data, recorded_at FROM event
    WHERE (transaction_id, id) > (:transaction_id, :id)
      AND (transaction_id, id) <= (:last_transaction_id, :last_id)
    ORDER BY transaction_id, id LIMIT :limit
""")


async def read_event_span(
    uow: UnitOfWork, *, after: LogPosition, until: LogPosition, limit: int = PAGE
) -> LogPage:
    """Read events between two positions, the second included; both must be before the head."""
    values = {
        "transaction_id": after.transaction_id,
        "id": after.id,
        "last_transaction_id": until.transaction_id,
        "last_id": until.id,
        "limit": limit,
    }
    rows = typed_rows(StoredEvent, await uow.session.execute(READ_SPAN, values))
    return _page(rows, end=until, limit=limit)


FORGET = text(f"""
    WITH oldest AS (
        SELECT transaction_id, id FROM event WHERE transaction_id < {_FINAL}
        ORDER BY transaction_id, id LIMIT :limit
    ), gone AS (
        DELETE FROM event e USING oldest o
        WHERE e.transaction_id = o.transaction_id AND e.id = o.id
          AND e.recorded_at < CAST(:before AS timestamptz)
        RETURNING e.transaction_id, e.id
    ), noted AS (
        INSERT INTO event_horizon AS h (name, transaction_id, id)
        SELECT 'log', transaction_id, id FROM gone ORDER BY transaction_id DESC, id DESC LIMIT 1
        ON CONFLICT (name) DO UPDATE
        SET transaction_id = excluded.transaction_id, id = excluded.id
    )
    SELECT count(*) FROM gone
""")

FORGET_FOREIGN = text(f"DELETE FROM event WHERE transaction_id >= {_FOREIGN}")


async def forget_old_events(
    uow: UnitOfWork, *, now: datetime, limit: int = FORGOTTEN_AT_ONCE
) -> int:
    """Delete the oldest events older than ``KEPT_FOR``; return how many, 0 when none is left.

    Events that another server wrote are deleted too, if this database is a copy of its database.
    """
    await uow.session.execute(FORGET_FOREIGN)
    values = {"before": now - KEPT_FOR, "limit": limit}
    return int((await uow.session.execute(FORGET, values)).scalar_one())


def _page(rows: Sequence[StoredEvent], *, end: LogPosition, limit: int) -> LogPage:
    """Return a page that ends at ``end``, or at its last event if it is full."""
    is_last = len(rows) < limit
    events = [
        LoggedEvent(
            position=row.position,
            type=row.type,
            subject_id=row.subject_id,
            campaign_id=row.campaign_id,
            data=row.data,
            recorded_at=row.recorded_at,
        )
        for row in rows
    ]
    return LogPage(events=events, until=end if is_last else rows[-1].position, is_last=is_last)
