"""Add the place of the person (ZIP, city and source) to stored records."""

from typing import Any

from sqlalchemy import TextClause, text

from crm_api.domain.insight.measures.dimensions import BREAKDOWNS, PLACES, Dimension
from crm_api.domain.insight.measures.settling import may_settle
from crm_api.platform.database import UnitOfWork

MOST = 5_000
"""The largest number of records of each table to which one step adds the place."""
MOST_MOVES = 1_000
"""The largest number of changes of place that may wait for ``settle_people``. While more changes
wait, no places are added, because each record would be compared with all these changes.
"""
# For each table, the SQL of the source of a record. Only outcomes have a source of their own.
_TABLES = {
    "insight_answer": "CAST(NULL AS text)",
    "insight_outcome": "k.source",
    "insight_reply": "CAST(NULL AS text)",
}


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


MOVES = text("""
    SELECT count(*) > :most FROM (SELECT FROM insight_person_move v LIMIT :most + 1) m
""")


async def place_records(uow: UnitOfWork, *, most: int = MOST, most_moves: int = MOST_MOVES) -> bool:
    """Add the place of the person to the records that have no place yet.

    The added place is the place at which ``insight_person_tally`` (the sums by place) counts the
    person. To keep the two equal, no other transaction adds places while this transaction is open,
    and ``settle_people`` does not run.

    Returns:
        Whether there may be more records without a place.
    """
    session = uow.session
    if not await may_settle(session):
        return False
    if await session.scalar(MOVES, {"most": most_moves}):
        return False
    placed = 0
    for statement in STATEMENTS:
        found: Any = await session.execute(statement, {"most": most})
        placed += found.rowcount
    return placed > 0
