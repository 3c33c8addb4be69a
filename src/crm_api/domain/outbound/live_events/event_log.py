"""Read the event log in order, page by page, and delete events that are older than a week."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import Field
from sqlalchemy import text

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows


class EventRead(ReadModel):
    """One event of an event stream.

    Attributes:
        type: The type of the event.
        timestamp: When the event happened.
        subject_id: The id of the message, contact or other object that the event is about.
        data: Ids and states. With the scope `messages:read`, `message.received` also has `phone`,
            `contact` and `body_preview`.
    """

    type: EventType
    timestamp: Instant
    subject_id: Id | None
    campaign_id: Id | None = Field(
        description="The id of the campaign to which the event belongs; null if none."
    )
    data: dict[str, Any]


KEPT_FOR = timedelta(days=7)
PAGE = 1_000
FORGOTTEN_AT_ONCE = 10_000


NOT_AN_ID = (
    "The value is not the id of an event. Give an id that a stream returned, such as 4711-42, or "
    "0 for all stored events, or leave it out."
)


class InvalidEventIdError(InvalidError):
    """The value is not an event id of a stream."""

    code = "invalid_event_id"
    title = "Invalid event id"
    example = Example(
        NOT_AN_ID,
        errors=[FieldProblem(pointer="/Last-Event-ID", code="invalid_event_id", detail=NOT_AN_ID)],
    )


_WRITTEN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)


class LogPosition(NamedTuple):
    """A position in the log. A later event has a greater position."""

    transaction_id: int
    id: int

    def __str__(self) -> str:
        """Return the position as an event id, such as ``4711-42``."""
        return f"{self.transaction_id}-{self.id}"


def parse_position(text: str, *, pointer: str) -> LogPosition:
    """Parse an event id into a position.

    Args:
        text: The event id, for example ``4711-42``. The number ``0`` means the beginning of the
            log, and ``4711`` means the same as ``4711-0``.
        pointer: The JSON pointer or parameter name of the value, for the error.

    Raises:
        InvalidEventIdError: The text is not an event id.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        fault = FieldProblem(pointer=pointer, code="invalid_event_id", detail=NOT_AN_ID)
        raise InvalidEventIdError(NOT_AN_ID, errors=[fault])
    return LogPosition(int(found[1]), int(found[2] or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event of the log, or one that is not stored.

    Attributes:
        position: The position in the log, which is also the public id of the event; None if the
            event is not stored.
        type: An ``EventType``, or a type that only a newer release knows. This release does not
            send an event of an unknown type.
        subject_id: The id of what the event is about.
    """

    position: LogPosition | None
    type: str
    subject_id: UUID | None
    campaign_id: UUID | None
    data: dict[str, Any]
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Consecutive events of the log.

    Attributes:
        events: The events, in the order of their positions.
        until: The position up to which the log has been read.
        is_last: True if there are no more events to read now.
    """

    events: list[LoggedEvent]
    until: LogPosition
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnds:
    """The two ends of the event log: a caller can read the events between them.

    Attributes:
        horizon: The position of the newest deleted event. Only events after this position can be
            read. None if this database server has deleted no event.
        head: Only events before this position can be read now. New events get later positions.
    """

    horizon: LogPosition | None
    head: LogPosition


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the event log."""

    transaction_id: int
    id: int
    type: str
    subject_id: UUID | None
    campaign_id: UUID | None
    data: dict[str, Any]
    recorded_at: datetime

    @property
    def position(self) -> LogPosition:
        """The position of the event in the log."""
        return LogPosition(self.transaction_id, self.id)


@dataclass(frozen=True, slots=True)
class StoredEnds:
    """The ends of the event log, as ``READ_ENDS`` returns them.

    Attributes:
        final: All transactions with a smaller number than this have ended. Only the events of
            these transactions can be read.
        transaction_id: The transaction number of the newest deleted event. None if no event was
            deleted, or if this number comes from another database server.
        id: The id of the newest deleted event; None if ``transaction_id`` is None.
    """

    final: int
    transaction_id: int | None
    id: int | None


# SQL expression of the number of the oldest transaction that still runs. Every transaction with a
# lower number has ended, by a commit or a rollback.
_FINAL = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# SQL expression of a number that is one higher than the number of the newest ended transaction. If
# this server has written an event and the event is visible, its transaction number is lower than
# this number.
_FOREIGN = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

# The horizon is the position of the newest deleted event. If the database was copied from another
# server, a horizon of that server has no meaning here and is ignored.
READ_ENDS = text(f"""
    SELECT {_FINAL} AS final, h.transaction_id, h.id
    FROM (VALUES (1)) AS one (row)
    LEFT JOIN event_horizon h ON h.name = 'log' AND h.transaction_id < {_FOREIGN}
""")


async def find_log_ends(uow: UnitOfWork) -> LogEnds:
    """Return the range of positions in which the log can be read."""
    ends = typed_row(StoredEnds, (await uow.session.execute(READ_ENDS)).one())
    horizon = None
    if ends.transaction_id is not None and ends.id is not None:
        horizon = LogPosition(ends.transaction_id, ends.id)
    return LogEnds(horizon=horizon, head=LogPosition(ends.final, 0))


# One statement reads the boundary (the oldest transaction that still runs) and the new events, so
# both come from the same snapshot.
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
    """Read the events after a position, in order.

    The page ends before the first position at which a running transaction may still add an event.
    So a caller that continues after the page misses no event.
    """
    values = {"transaction_id": after.transaction_id, "id": after.id, "limit": limit}
    found = (await uow.session.execute(READ_NEW, values)).all()
    # If there are no new events, the result is one row, which contains only the boundary (the
    # oldest transaction that still runs).
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
    # No further event can appear before the boundary (the oldest transaction that still runs).
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
    """Return a page of the events after ``after`` up to ``until``, in order.

    ``until`` must not be later than ``LogEnds.head``. New events may still appear after the head.
    """
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
    """Delete events that are older than ``KEPT_FOR``, the oldest first; return their number.

    If the database was copied from another server, the log may have events with transaction numbers
    that this server has not reached yet. These events are deleted too, whatever their age. The
    returned number does not include them.
    """
    await uow.session.execute(FORGET_FOREIGN)
    values = {"before": now - KEPT_FOR, "limit": limit}
    return int((await uow.session.execute(FORGET, values)).scalar_one())


def _page(rows: Sequence[StoredEvent], *, end: LogPosition, limit: int) -> LogPage:
    """Return a page with the events in ``rows``.

    If there are ``limit`` events, the page ends at the position of the last event. If there are
    fewer events, it ends at ``end``.
    """
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
