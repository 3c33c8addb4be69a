"""What is written on an attempt once its call has ended, was concluded or was reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.sends import record_statements as sql


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is written on one attempt.

    Attributes:
        status: The attempt's new status.
        seen: The status that the writer saw, for conclusions; None for facts, which are written
            whatever the row's state, lease or age.
        message_id: The provider's id of the message, for sent, failed and delivered.
        is_matched: The id was concluded, not given by the answer.
        shown: The timeline's word when it differs from the attempt's (``undelivered``).
    """

    attempt_id: UUID
    status: str
    seen: str | None = None
    message_id: str | None = None
    is_matched: bool = False
    accepted_at: datetime | None = None
    reported_at: datetime | None = None
    has_no_id: bool = False
    error_code: str | None = None
    error_detail: str | None = None
    shown: str | None = None


async def take_strays(
    session: AsyncSession, *, message_ids: list[str], attempt_ids: list[UUID]
) -> dict[str, Row[Any]]:
    """Remove and return what was stored about these messages as somebody's, by message id."""
    values = {"message_ids": message_ids, "attempt_ids": attempt_ids}
    return {row.openphone_id: row for row in await session.execute(sql.TAKE_STRAYS, values)}


async def record(
    session: AsyncSession, outcomes: Sequence[Outcome], *, send_after: datetime, now: datetime
) -> Sequence[Row[Any]]:
    """Write outcomes on attempts and timeline rows; the rows that changed."""
    values = {
        "ids": [outcome.attempt_id for outcome in outcomes],
        "statuses": [outcome.status for outcome in outcomes],
        "seen": [outcome.seen for outcome in outcomes],
        "message_ids": [outcome.message_id for outcome in outcomes],
        "matched": [outcome.is_matched for outcome in outcomes],
        "accepted": [outcome.accepted_at for outcome in outcomes],
        "reported": [outcome.reported_at for outcome in outcomes],
        "no_ids": [outcome.has_no_id for outcome in outcomes],
        "codes": [outcome.error_code for outcome in outcomes],
        "details": [outcome.error_detail for outcome in outcomes],
        "shown": [outcome.shown for outcome in outcomes],
        "send_after": send_after,
        "now": now,
    }
    return (await session.execute(sql.RECORD, values)).all()


async def unbind(
    session: AsyncSession, *, message_ids: list[str], attempt_ids: list[UUID], now: datetime
) -> Sequence[Row[Any]]:
    """Take message ids away from attempts that only matched them, and park these."""
    values = {"message_ids": message_ids, "attempt_ids": attempt_ids, "now": now}
    return (await session.execute(sql.UNBIND, values)).all()


async def reopen(session: AsyncSession, *, ids: list[UUID], now: datetime) -> None:
    """Make parked attempts unknown again, so that they are looked up; not beside an open one."""
    await session.execute(sql.REOPEN, {"ids": ids, "now": now})
