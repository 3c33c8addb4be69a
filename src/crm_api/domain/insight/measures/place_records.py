"""Store the place of the person with each stored record."""

from typing import Any

from sqlalchemy import TextClause, text

from crm_api.domain.insight.measures.dimensions import BREAKDOWNS, PLACES, Dimension
from crm_api.domain.insight.measures.settling import may_settle
from crm_api.platform.database import UnitOfWork

MOST = 20_000
"""Records of each table that one step places."""
# What each table knows of the source by itself.
_TABLES = {"insight_answer": "CAST(NULL AS text)", "insight_reply": "CAST(NULL AS text)"}


def _place(table: str, source: str) -> TextClause:
    keys = ", ".join(f"nullif({BREAKDOWNS[one].key}, '') AS {one}" for one in PLACES)
    return text(f"""
        WITH wanted AS MATERIALIZED (
            SELECT k.id, k.contact_id, {source} AS source FROM {table} k
            WHERE NOT k.is_placed ORDER BY k.id LIMIT :most
        ), placed AS (
            SELECT b.id, {keys} FROM wanted b {BREAKDOWNS[Dimension.ZIP].joins}
        )
        UPDATE {table} k SET is_placed = true, {", ".join(f"{one} = x.{one}" for one in PLACES)}
        FROM placed x WHERE k.id = x.id
    """)


STATEMENTS = [_place(table, source) for table, source in _TABLES.items()]


async def place_records(uow: UnitOfWork, *, most: int = MOST) -> bool:
    """Store the place of the person with the records that have none yet.

    It is the place where the sums by place count the person. Only one transaction does so at a
    time, and none that takes moved people into account.

    Returns:
        Whether there may be more to place.
    """
    session = uow.session
    if not await may_settle(session):
        return False
    placed = 0
    for statement in STATEMENTS:
        found: Any = await session.execute(statement, {"most": most})
        placed += found.rowcount
    return placed > 0
