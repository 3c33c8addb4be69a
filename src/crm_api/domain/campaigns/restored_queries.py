"""SQL on campaigns of a restored backup."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

_LOCK = text("""
    SELECT c.paused_evidence AS evidence, c.recipients_total IS NOT NULL AS is_whole
    FROM campaign c
    WHERE c.id = :campaign_id AND c.status = 'paused' AND c.paused_reason = :reason
    FOR NO KEY UPDATE
""")

# A text that the provider accepted, whoever sent it, is in the conversation of its line.
_SET_ASIDE = text("""
    UPDATE campaign_membership m
    SET status = CASE WHEN m.step = 0 THEN 'review' ELSE 'skipped' END,
        skip_reason = CASE WHEN m.step > 0 THEN 'texted_since_backup' END,
        updated_at = :now
    FROM campaign c JOIN conversation v ON v.line_id = c.line_id
    WHERE c.id = :campaign_id AND m.campaign_id = c.id AND m.phone = v.phone
      AND m.status IN ('pending', 'held')
      AND v.last_outgoing_at >= CAST(:since AS timestamptz)
""")


async def lock_restored(
    session: AsyncSession, *, campaign_id: UUID, reason: str
) -> Row[Any] | None:
    """Lock a campaign that is paused for this reason; its ``evidence``, and if it ``is_whole``."""
    values = {"campaign_id": campaign_id, "reason": reason}
    return (await session.execute(_LOCK, values)).one_or_none()


async def set_texted_aside(
    session: AsyncSession, *, campaign_id: UUID, since: datetime, now: datetime
) -> None:
    """Put who got a text since then in review, or skip them if it is a follow-up that waits."""
    values = {"campaign_id": campaign_id, "since": since, "now": now}
    await session.execute(_SET_ASIDE, values)
