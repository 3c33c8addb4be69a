"""Merge the rows of the kept sums, so that figures read few rows. The sums do not change."""

from sqlalchemy import text

from crm_api.platform.database import UnitOfWork

LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('merge_insight_tally', 0))")
_KEY = "t.grain, t.campaign_id, t.step, t.variant, t.at"
_COUNTS = (
    *("sent", "delivered", "failed", "replied", "interested", "opted_out", "accepted", "segments"),
)
_SUMS = ", ".join(f"sum(t.{one})" for one in _COUNTS)
# `OFFSET 0` makes PostgreSQL look up each key in the index, whatever its statistics are.
MERGE = text(f"""
    WITH fresh AS MATERIALIZED (
        SELECT t.id, {_KEY} FROM insight_tally t
        WHERE NOT t.is_merged ORDER BY t.id LIMIT :limit
    ), wanted AS (
        SELECT f.id FROM fresh f
        UNION ALL
        SELECT m.id FROM (SELECT DISTINCT {_KEY} FROM fresh t) k
        CROSS JOIN LATERAL (
            SELECT t.id FROM insight_tally t
            WHERE t.campaign_id = k.campaign_id AND t.grain = k.grain AND t.at = k.at
              AND t.step = k.step AND t.variant = k.variant AND t.is_merged OFFSET 0) m
    ), gone AS (
        DELETE FROM insight_tally t WHERE t.id = ANY(ARRAY(SELECT w.id FROM wanted w))
        RETURNING t.*
    ), merged AS (
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, {", ".join(_COUNTS)},
            is_merged)
        SELECT {_KEY}, {_SUMS}, true FROM gone t GROUP BY {_KEY}
        HAVING {" OR ".join(f"sum(t.{one}) <> 0" for one in _COUNTS)}
    )
    SELECT count(*) FROM fresh
""")
MOST = 20_000
"""The largest number of rows that one statement merges."""


async def merge_tally(uow: UnitOfWork, *, most: int = MOST) -> int:
    """Merge new rows into the sums of their hour or day; return how many new rows were merged.

    Only one transaction merges at a time. If another transaction is merging, the result is 0.
    """
    if not await uow.session.scalar(LOCK):
        return 0
    return int(await uow.session.scalar(MERGE, {"limit": most}) or 0)
