"""Copy outcomes to ``insight_outcome``, from which figures read them fast.

Reversals and reversed outcomes are not copied, because the measures leave them out.
"""

from typing import Any

from sqlalchemy import text

from crm_api.domain.insight.measures.settling import may_settle
from crm_api.platform.database import UnitOfWork

MOST = 20_000
"""The largest number of changes that one step takes into account."""
# An outcome with a change that is not taken yet stays out of date.
TAKE = text("""
    WITH taken AS (
        DELETE FROM insight_outcome_change c
        WHERE c.id = ANY(ARRAY(
            SELECT o.id FROM insight_outcome_change o ORDER BY o.id LIMIT :most))
        RETURNING c.outcome_id
    ), gone AS (
        DELETE FROM insight_outcome k
        WHERE k.id = ANY(ARRAY(SELECT t.outcome_id FROM taken t))
    )
    SELECT ARRAY(SELECT DISTINCT t.outcome_id FROM taken t) AS ids
""")
# It sees all that `TAKE` saw. `OFFSET 0` forces one look-up for each outcome.
STORE = text("""
    INSERT INTO insight_outcome (id, contact_id, kind, at, amount_cents, source)
    SELECT o.id, s.contact_id, o.kind, o.occurred_at, o.amount_cents, o.source
    FROM unnest(CAST(:ids AS uuid[])) AS h (id)
    CROSS JOIN LATERAL (SELECT o.* FROM outcome o WHERE o.id = h.id OFFSET 0) o
    LEFT JOIN outcome_subject s ON s.outcome_id = o.id
    WHERE o.reverses_id IS NULL
      AND NOT EXISTS (
          SELECT FROM outcome r WHERE r.reverses_id = o.id AND r.reverses_id IS NOT NULL)
    ON CONFLICT (id) DO NOTHING
""")


async def settle_outcomes(uow: UnitOfWork, *, most: int = MOST) -> bool:
    """Copy new outcomes to ``insight_outcome``, and copy changed outcomes again.

    Only one transaction does so at a time.

    Returns:
        Whether there may be more to copy.
    """
    session = uow.session
    if not await may_settle(session):
        return False
    ids: list[Any] = await session.scalar(TAKE, {"most": most}) or []
    if ids:
        await session.execute(STORE, {"ids": ids})
    return bool(ids)
