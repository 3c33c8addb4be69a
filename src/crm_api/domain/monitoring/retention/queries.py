"""All SQL on monthly partitions; functions of the migrations change the schema."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.monitoring.retention.tables import Month, MonthlyTable

MONTHS = text(r"""
    SELECT c.relname AS name,
           to_date(right(c.relname, 7), 'YYYY_MM') AS first_day, c.relispartition AS is_attached
    FROM pg_class c
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind = 'r'
      AND c.relname ~ CAST(:pattern AS text)
    ORDER BY c.relname
""")
ADD = text("SELECT add_partition(:parent, :month)")
ANALYZE = text("SELECT analyze_partitioned(:parent)")
DETACH = text("SELECT detach_partition(:parent, :name)")
DROP = text("SELECT drop_detached(:name)")

TAKE_TIME = text("SET LOCAL statement_timeout = 0")

# Formatted with partition names, which consist of the table's name and a date.
_WAITS = "SELECT EXISTS (SELECT FROM {name} WHERE {waits})"
_FORGET_KEYS = """
    WITH batch AS (
        SELECT id, {provider_id} AS provider_id FROM {name}
        WHERE id > :after ORDER BY id LIMIT :limit
    ), forgotten AS (
        DELETE FROM {key} k USING batch
        WHERE k.{provider_id} = batch.provider_id AND k.{key_id} = batch.id
    )
    SELECT max(CAST(id AS text)) FROM batch
"""
_FORGET_MEDIA = """
    WITH batch AS (
        SELECT id FROM {name} a WHERE EXISTS (
            SELECT FROM media_fetch f WHERE f.activity_id = a.id)
        LIMIT :limit
    ), forgotten AS (
        DELETE FROM media_fetch f USING batch WHERE f.activity_id = batch.id
        RETURNING f.id, f.media_id
    )
    SELECT count(*) AS fetches,
           array_agg(DISTINCT media_id) FILTER (WHERE media_id IS NOT NULL) AS media_ids
    FROM forgotten
"""
_FORGET_EXAMPLES = """
    DELETE FROM reply_example r WHERE EXISTS (SELECT FROM {name} a WHERE a.id = r.activity_id)
"""
DROP_MEDIA = text("""
    DELETE FROM media m
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM media_fetch f WHERE f.media_id = m.id)
    RETURNING m.sha256
""")
_COPY = "SELECT {columns} FROM {name} ORDER BY id"

LIMIT = 10_000
MEDIA_LIMIT = 200


async def list_months(session: AsyncSession, table: MonthlyTable) -> list[Month]:
    """Return the months of a table, oldest first, detached ones included."""
    rows = await session.execute(MONTHS, {"pattern": rf"^{table.name}_\d{{4}}_\d\d$"})
    return [Month(table, *row) for row in rows]


async def add_month(session: AsyncSession, table: MonthlyTable, *, month: date) -> None:
    """Create the partition of a month; its rows in the default partition move there."""
    await session.execute(ADD, {"parent": table.name, "month": month})


async def analyze(session: AsyncSession, table: MonthlyTable) -> None:
    """Update the planner's statistics of the whole table: autovacuum covers only partitions."""
    await session.execute(ANALYZE, {"parent": table.name})


async def waits(session: AsyncSession, month: Month) -> bool:
    """Return whether a row of the month still waits to be applied or sent."""
    query = _WAITS.format(name=month.name, waits=month.table.waits)
    return bool(await session.scalar(text(query)))


async def forget_keys(session: AsyncSession, month: Month, *, after: UUID) -> UUID | None:
    """Delete the provider's ids of a batch of rows; return the last row's id, None at the end."""
    table = month.table
    query = _FORGET_KEYS.format(
        name=month.name, key=table.key, key_id=table.key_id, provider_id=table.provider_id
    )
    last = await session.scalar(text(query), {"after": after, "limit": LIMIT})
    return None if last is None else UUID(last)


async def forget_media(session: AsyncSession, month: Month) -> tuple[int, Sequence[str]]:
    """Delete the media of a batch of messages of the month.

    Returns:
        How many fetches were deleted, and the objects that no other message uses.
    """
    query = _FORGET_MEDIA.format(name=month.name)
    row = (await session.execute(text(query), {"limit": MEDIA_LIMIT})).one()
    names = await session.scalars(DROP_MEDIA, {"ids": row.media_ids or []})
    return row.fetches, names.all()


async def forget_examples(session: AsyncSession, month: Month) -> None:
    """Delete the replies of the month that were kept as examples."""
    await session.execute(text(_FORGET_EXAMPLES.format(name=month.name)))


async def detach(session: AsyncSession, month: Month) -> None:
    """Detach a month from its table; it stays as a separate table that nothing changes."""
    await session.execute(DETACH, {"parent": month.table.name, "name": month.name})


async def drop(session: AsyncSession, month: Month) -> None:
    """Drop a detached month."""
    await session.execute(DROP, {"name": month.name})


async def take_time(session: AsyncSession) -> None:
    """Remove the time limit of the next statements of this transaction."""
    await session.execute(TAKE_TIME)


def copy_query(month: Month) -> str:
    """Return the query for the content of an archive."""
    return _COPY.format(columns=", ".join(month.table.archived), name=month.name)
