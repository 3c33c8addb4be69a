"""SQL of the send path: count, lock, claim, gate, record, release, derive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.sends import contacted_statements as contacted
from crm_api.domain.sends import statements as sql
from crm_api.domain.sends.pacing import Pace

BACK_OFF_BASE = 30.0
"""Seconds; the provider asks for a minute's rest at most when it says 429."""
BACK_OFF_CAP = 3600.0
"""Seconds; a day's window must not be slept through."""


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


async def _all(session: AsyncSession, statement: TextClause, **values: Any) -> Sequence[Row[Any]]:  # noqa: ANN401 - bind values
    return (await session.execute(statement, values)).all()


async def lock_line(session: AsyncSession, *, campaign_id: UUID) -> Row[Any] | None:
    """Lock the line of a running campaign; its texts are counted in a later statement (R1).

    None when the campaign does not run or its line is blocked.
    """
    rows = await _all(session, sql.LOCK_LINE, campaign_id=campaign_id)
    return rows[0] if rows else None


async def usage(
    session: AsyncSession,
    *,
    line_ids: Sequence[UUID],
    campaign_id: UUID | None,
    grace: float,
    now: datetime,
) -> Sequence[Row[Any]]:
    """Count what the lines, and one campaign on them, may have had accepted today.

    Each row has the line's limit of today, the end of its day, and the campaign's pace.
    """
    return await _all(
        session, sql.USAGE, line_ids=list(line_ids), campaign_id=campaign_id, grace=grace, now=now
    )


async def compact_tally(session: AsyncSession, *, rows: int, now: datetime) -> None:
    """Sum up the counts of lines that have so many rows of them too much, and drop old days."""
    if await session.scalar(sql.COMPACT_LOCK):
        await session.execute(sql.COMPACT, {"rows": rows, "now": now})


async def lock_candidates(
    session: AsyncSession, *, campaign_id: UUID, zone_keys: list[str], limit: int, now: datetime
) -> Sequence[Row[Any]]:
    """Lock the numbers of due recipients in the open zones; those locked elsewhere are left."""
    return await _all(
        session,
        sql.LOCK_CANDIDATES,
        campaign_id=campaign_id,
        zone_keys=zone_keys,
        limit=limit,
        now=now,
    )


async def set_contacted_aside(
    session: AsyncSession, *, membership_ids: Sequence[UUID], rule: str, now: datetime
) -> set[UUID]:
    """Skip, or put in review, those of the candidates who were texted before; their ids."""
    values = {"ids": list(membership_ids), "rule": rule, "now": now}
    return set((await session.scalars(contacted.SET_ASIDE, values)).all())


async def claim(session: AsyncSession, **values: Any) -> set[UUID]:  # noqa: ANN401 - bind values
    """Insert attempts for those who may be texted, and mark their memberships; ids that got in."""
    return {row.id for row in await _all(session, sql.CLAIM, **values)}


async def postpone_texted(
    session: AsyncSession, *, membership_ids: Sequence[UUID], min_days: int, now: datetime
) -> None:
    """Make those whom another campaign texted lately due when that is long enough ago."""
    values = {"ids": list(membership_ids), "min_days": min_days, "now": now}
    await session.execute(sql.POSTPONE_TEXTED, values)


async def set_pace(session: AsyncSession, *, campaign_id: UUID, pace: Pace) -> None:
    """Write when a campaign's next text may be claimed."""
    values = {
        "campaign_id": campaign_id,
        "next_at": pace.next_at,
        "batch_left": pace.batch_left,
    }
    await session.execute(sql.SET_PACE, values)


async def begin_ramp(session: AsyncSession, *, line_id: UUID, now: datetime) -> None:
    """Let a new line's plan begin today."""
    await session.execute(sql.BEGIN_RAMP, {"line_id": line_id, "now": now})


async def gate(
    session: AsyncSession,
    *,
    ids: list[UUID],
    tokens: list[UUID],
    lease_until: datetime,
    ends_at: datetime,
    now: datetime,
) -> set[UUID]:
    """Let attempts pass to the call; ids that did. ``ends_at``: when their calls end at last."""
    rows = await _all(
        session, sql.GATE, ids=ids, tokens=tokens, lease_until=lease_until, ends_at=ends_at, now=now
    )
    return {row.id for row in rows}


async def release(
    session: AsyncSession,
    *,
    ids: list[UUID],
    tokens: list[UUID],
    reason: str,
    send_after: datetime,
    now: datetime,
) -> Sequence[Row[Any]]:
    """Take back claims that never reached a call."""
    return await _all(
        session, sql.RELEASE, ids=ids, tokens=tokens, reason=reason, send_after=send_after, now=now
    )


async def take_strays(
    session: AsyncSession, *, message_ids: list[str], attempt_ids: list[UUID]
) -> dict[str, Row[Any]]:
    """Remove and return what was stored about these messages as somebody's, by message id."""
    rows = await _all(session, sql.TAKE_STRAYS, message_ids=message_ids, attempt_ids=attempt_ids)
    return {row.openphone_id: row for row in rows}


async def record(
    session: AsyncSession, outcomes: Sequence[Outcome], *, send_after: datetime, now: datetime
) -> Sequence[Row[Any]]:
    """Write outcomes on attempts and timeline rows; the rows that changed."""
    return await _all(
        session,
        sql.RECORD,
        ids=[outcome.attempt_id for outcome in outcomes],
        statuses=[outcome.status for outcome in outcomes],
        seen=[outcome.seen for outcome in outcomes],
        message_ids=[outcome.message_id for outcome in outcomes],
        matched=[outcome.is_matched for outcome in outcomes],
        accepted=[outcome.accepted_at for outcome in outcomes],
        reported=[outcome.reported_at for outcome in outcomes],
        no_ids=[outcome.has_no_id for outcome in outcomes],
        codes=[outcome.error_code for outcome in outcomes],
        details=[outcome.error_detail for outcome in outcomes],
        shown=[outcome.shown for outcome in outcomes],
        send_after=send_after,
        now=now,
    )


async def unbind(
    session: AsyncSession, *, message_ids: list[str], attempt_ids: list[UUID], now: datetime
) -> Sequence[Row[Any]]:
    """Take message ids away from attempts that only matched them, and park these."""
    return await _all(
        session, sql.UNBIND, message_ids=message_ids, attempt_ids=attempt_ids, now=now
    )


async def reopen(session: AsyncSession, *, ids: list[UUID], now: datetime) -> None:
    """Make parked attempts unknown again, so that they are looked up; not beside an open one."""
    await session.execute(sql.REOPEN, {"ids": ids, "now": now})


async def skip(
    session: AsyncSession, *, membership_ids: Sequence[UUID], reason: str, now: datetime
) -> None:
    """Leave pending recipients out, with the reason."""
    values = {"ids": list(membership_ids), "reason": reason, "now": now}
    await session.execute(sql.SKIP, values)


async def derive(
    session: AsyncSession,
    *,
    membership_ids: Sequence[UUID],
    now: datetime,
    due_at: datetime | None = None,
    back_off: bool = False,
) -> None:
    """Derive memberships from their attempts and the world; the one writer of their status.

    The lock is a statement of its own: the second one must see what others committed meanwhile.

    Args:
        due_at: When those who wait are due again; None leaves it.
        back_off: Each waits longer than before, by a random instant of its own: full jitter up
            to ``BACK_OFF_BASE`` doubled with every call that was put off, not before ``due_at``.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, read 2026-11-25.
    """
    if not membership_ids:
        return
    ids = sorted(set(membership_ids))
    await session.execute(sql.LOCK_MEMBERSHIPS, {"ids": ids})
    values = {
        "ids": ids,
        "due_at": due_at,
        "back_off": back_off,
        "back_off_base": BACK_OFF_BASE,
        "back_off_cap": BACK_OFF_CAP,
        "now": now,
    }
    await session.execute(sql.DERIVE, values)
