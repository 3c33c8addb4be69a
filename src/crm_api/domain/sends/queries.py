"""SQL up to the call: lock, count, claim, tell, gate, release."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.sends import claim_statements as sql
from crm_api.domain.sends import contacted_statements as contacted
from crm_api.domain.sends import usage_statements
from crm_api.domain.sends.pacing import Pace


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A text that a claim asks for.

    Attributes:
        not_after: When the recipient's legal window or the campaign's closes.
        max_recent: How many campaign texts the law lets the number get in ``recent_hours``; None
            for no limit.
    """

    attempt_id: UUID
    membership_id: UUID
    contact_id: UUID
    phone: str
    body: str
    variant: int
    not_after: datetime
    max_recent: int | None
    recent_hours: int | None


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
        session,
        usage_statements.USAGE,
        line_ids=list(line_ids),
        campaign_id=campaign_id,
        grace=grace,
        now=now,
    )


async def compact_tally(session: AsyncSession, *, rows: int, now: datetime) -> None:
    """Sum up the counts of lines that have so many rows of them too much, and drop old days."""
    if await session.scalar(usage_statements.COMPACT_LOCK):
        await session.execute(usage_statements.COMPACT, {"rows": rows, "now": now})


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


async def claim(
    session: AsyncSession,
    wanted: Sequence[Wanted],
    **values: Any,  # noqa: ANN401 - bind values
) -> list[Wanted]:
    """Insert attempts for those who may be texted; those that got in."""
    rows = await _all(
        session,
        sql.CLAIM,
        ids=[one.attempt_id for one in wanted],
        membership_ids=[one.membership_id for one in wanted],
        phones=[one.phone for one in wanted],
        bodies=[one.body for one in wanted],
        not_afters=[one.not_after for one in wanted],
        max_recents=[one.max_recent for one in wanted],
        recent_hours=[one.recent_hours for one in wanted],
        **values,
    )
    got = {row.id for row in rows}
    return [one for one in wanted if one.attempt_id in got]


async def tell_claimed(
    session: AsyncSession,
    claimed: Sequence[Wanted],
    *,
    campaign_id: UUID,
    line_id: UUID,
    now: datetime,
) -> None:
    """Mark the recipients of a claim, and put their texts on the timeline."""
    phones = [one.phone for one in claimed]
    contact_ids = [one.contact_id for one in claimed]
    talks = await _all(
        session,
        sql.OPEN_CONVERSATIONS,
        line_id=line_id,
        phones=phones,
        contact_ids=contact_ids,
        now=now,
    )
    conversations = {row.phone: row.id for row in talks}
    values = {
        "membership_ids": [one.membership_id for one in claimed],
        "variants": [one.variant for one in claimed],
        "ids": [one.attempt_id for one in claimed],
        "conversation_ids": [conversations[phone] for phone in phones],
        "contact_ids": contact_ids,
        "phones": phones,
        "bodies": [one.body for one in claimed],
        "campaign_id": campaign_id,
        "line_id": line_id,
        "now": now,
    }
    await session.execute(sql.TELL_CLAIMED, values)


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
    await session.execute(usage_statements.SET_PACE, values)


async def begin_ramp(session: AsyncSession, *, line_id: UUID, now: datetime) -> None:
    """Let a new line's plan begin today."""
    await session.execute(usage_statements.BEGIN_RAMP, {"line_id": line_id, "now": now})


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
