"""All SQL on the months of tables; what changes the schema is in functions of the migrations."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.retention.tables import Month, MonthlyTable

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

# By the names of months, which are made of the table's own and a date.
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
    """Fetch the months of a table, the oldest first, with those that were taken out of it."""
    rows = await session.execute(MONTHS, {"pattern": rf"^{table.name}_\d{{4}}_\d\d$"})
    return [Month(table, *row) for row in rows]


async def add_month(session: AsyncSession, table: MonthlyTable, *, month: date) -> None:
    """Make the partition of a month; what lies in the default one for it moves there."""
    await session.execute(ADD, {"parent": table.name, "month": month})


async def analyze(session: AsyncSession, table: MonthlyTable) -> None:
    """Let the planner learn of the table as a whole: autovacuum only looks at its months."""
    await session.execute(ANALYZE, {"parent": table.name})


async def waits(session: AsyncSession, month: Month) -> bool:
    """Say whether something still happens with a row of the month."""
    query = _WAITS.format(name=month.name, waits=month.table.waits)
    return bool(await session.scalar(text(query)))


async def forget_keys(session: AsyncSession, month: Month, *, after: UUID) -> UUID | None:
    """Forget the provider's ids of some rows of the month; the last row's id, None at the end."""
    table = month.table
    query = _FORGET_KEYS.format(
        name=month.name, key=table.key, key_id=table.key_id, provider_id=table.provider_id
    )
    last = await session.scalar(text(query), {"after": after, "limit": LIMIT})
    return None if last is None else UUID(last)


async def forget_media(session: AsyncSession, month: Month) -> tuple[int, Sequence[str]]:
    """Forget the files of some messages of the month.

    Returns:
        How many addresses were forgotten, and the objects that nobody else has.
    """
    query = _FORGET_MEDIA.format(name=month.name)
    row = (await session.execute(text(query), {"limit": MEDIA_LIMIT})).one()
    names = await session.scalars(DROP_MEDIA, {"ids": row.media_ids or []})
    return row.fetches, names.all()


async def detach(session: AsyncSession, month: Month) -> None:
    """Take a month out of its table; it stays as a table of its own, and nothing changes it."""
    await session.execute(DETACH, {"parent": month.table.name, "name": month.name})


async def drop(session: AsyncSession, month: Month) -> None:
    """Remove a month that was taken out."""
    await session.execute(DROP, {"name": month.name})


async def take_time(session: AsyncSession) -> None:
    """Let the next statements of this transaction run for as long as they take."""
    await session.execute(TAKE_TIME)


def copy_query(month: Month) -> str:
    """Write the query of what an archive holds."""
    return _COPY.format(columns=", ".join(month.table.archived), name=month.name)
