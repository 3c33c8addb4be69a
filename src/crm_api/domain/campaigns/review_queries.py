"""SQL of the review queue."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

# Only first texts are reviewed. Of two decisions at once the second finds nobody in review. The
# flags are asked as well: an opt-out takes people out of review, but its own row may be newer.
_DECIDE = text("""
    WITH chosen AS (
        SELECT m.id, m.phone FROM campaign_membership m
        WHERE m.campaign_id = :campaign_id AND m.step = 0 AND m.status = 'review'
          AND (CAST(:contact_ids AS uuid[]) IS NULL
               OR m.contact_id = ANY(CAST(:contact_ids AS uuid[])))
        ORDER BY m.id FOR NO KEY UPDATE
    ), verdict AS (
        SELECT c.id, CASE
                   WHEN CAST(:decision AS text) = 'reject' THEN 'rejected'
                   WHEN f.opted_out THEN 'opted_out'
                   WHEN EXISTS (
                       SELECT 1 FROM contact p
                       WHERE p.phone = c.phone AND p.deleted_at IS NOT NULL)
                   THEN 'contact_deleted'
                   WHEN f.do_not_contact THEN 'do_not_contact'
                   WHEN f.on_hold THEN 'held'
                   ELSE 'pending' END AS verdict
        FROM chosen c CROSS JOIN LATERAL (
            SELECT bool_or(f.flag_type = 'opted_out') AS opted_out,
                   bool_or(f.flag_type = 'do_not_contact') AS do_not_contact,
                   bool_or(f.flag_type = 'opt_out_hold') AS on_hold
            FROM contact_flag f
            WHERE f.phone = c.phone
              AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))
        ) f
    ), decided AS (
        UPDATE campaign_membership m
        SET status = CASE WHEN v.verdict IN ('pending', 'held') THEN v.verdict ELSE 'skipped' END,
            skip_reason = CASE WHEN v.verdict NOT IN ('pending', 'held') THEN v.verdict END,
            approved_at = CASE WHEN v.verdict IN ('pending', 'held')
                               THEN CAST(:now AS timestamptz) END,
            due_at = :now, updated_at = :now
        FROM verdict v WHERE m.id = v.id
        RETURNING v.verdict
    )
    SELECT count(*) AS found, count(*) FILTER (WHERE verdict = 'pending') AS approved,
           count(*) FILTER (WHERE verdict = 'rejected') AS rejected
    FROM decided
""")

_IN_REVIEW = text("""
    SELECT CAST(coalesce(sum(t.people), 0) AS bigint) FROM campaign_tally t
    WHERE t.campaign_id = :campaign_id AND t.step = 0 AND t.status = 'review'
""")


async def decide(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    decision: str,
    contact_ids: Iterable[UUID] | None,
    now: datetime,
) -> Row[Any]:
    """Decide about people in review; how many were ``found``, ``approved`` and ``rejected``."""
    values = {
        "campaign_id": campaign_id,
        "decision": decision,
        "contact_ids": None if contact_ids is None else list(contact_ids),
        "now": now,
    }
    return (await session.execute(_DECIDE, values)).one()


async def count_in_review(session: AsyncSession, *, campaign_id: UUID) -> int:
    """Count who is in review, whatever the size of the campaign in no time."""
    values = {"campaign_id": campaign_id}
    return int((await session.execute(_IN_REVIEW, values)).scalar_one())
