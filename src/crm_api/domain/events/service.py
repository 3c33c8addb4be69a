"""The log of events: written, read in order, forgotten after a week."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.events import queries
from crm_api.domain.events.log import LogEnds, LoggedEvent, LogPage
from crm_api.domain.events.positions import Position
from crm_api.domain.events.schemas import EventType

KEPT_FOR = timedelta(days=7)
PAGE = 1_000
FORGOTTEN_AT_ONCE = 10_000


async def record(
    uow: UnitOfWork,
    *,
    type: EventType,  # noqa: A002 - the field's name
    subject_id: UUID | None,
    data: dict[str, Any] | None = None,
    campaign_id: UUID | None = None,
) -> None:
    """Write down what happens in this transaction; followers see it once it is committed.

    What becomes of messages, campaigns, opt-outs and alerts is recorded by triggers.

    Args:
        data: Ids and states; no number and no text of anybody.
    """
    await queries.record(
        uow.session,
        event_type=type.value,
        subject_id=subject_id,
        campaign_id=campaign_id,
        data=data or {},
    )


async def ends(uow: UnitOfWork) -> LogEnds:
    """Tell between which places the log can be read."""
    row = await queries.ends(uow.session)
    horizon = None if row.id is None else Position(row.transaction_id, row.id)
    return LogEnds(horizon=horizon, head=Position(row.final, 0))


async def read_new(uow: UnitOfWork, *, after: Position, limit: int = PAGE) -> LogPage:
    """Read what is final and stands after a place, in order."""
    final, rows = await queries.read_new(uow.session, after=after, limit=limit)
    is_last = len(rows) < limit
    # Where nothing stands now, nothing can come any more.
    until = max(after, Position(final, 0)) if is_last else _place(rows[-1])
    return LogPage(events=_read(rows), until=until, is_last=is_last)


async def read_span(
    uow: UnitOfWork, *, after: Position, until: Position, limit: int = PAGE
) -> LogPage:
    """Read what stands between two places, the second included; both are before the head."""
    rows = await queries.read_span(uow.session, after=after, until=until, limit=limit)
    is_last = len(rows) < limit
    return LogPage(
        events=_read(rows), until=until if is_last else _place(rows[-1]), is_last=is_last
    )


async def forget(uow: UnitOfWork, *, now: datetime, limit: int = FORGOTTEN_AT_ONCE) -> int:
    """Delete the oldest events that are older than a week; 0 when none is left."""
    await queries.forget_foreign(uow.session)
    return await queries.forget(uow.session, before=now - KEPT_FOR, limit=limit)


def _place(row: Row[Any]) -> Position:
    return Position(row.transaction_id, row.id)


def _read(rows: Sequence[Row[Any]]) -> list[LoggedEvent]:
    return [
        LoggedEvent(
            position=_place(row),
            type=row.type,
            subject_id=row.subject_id,
            campaign_id=row.campaign_id,
            data=row.data,
            recorded_at=row.recorded_at,
        )
        for row in rows
    ]
