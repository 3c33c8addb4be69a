"""Load millions of rows in minutes: drop indexes and keys first, and create them again later."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm_api.platform.database import open_engine

_INDEX_MEMORY = "512MB"
_LOAD_WAL = "8GB"
"""Value of ``max_wal_size`` during the load, so that no checkpoint slows down the load.
Measurements use the default value."""

# Keys to which foreign keys of other tables refer are not dropped. The definition of an index of a
# partitioned table contains ONLY, which is removed here: with ONLY, the partitions would not get
# the index.
_INDEXES = text("""
    SELECT coalesce(c.conname, i.relname) AS name, t.relname AS "table",
           c.oid IS NOT NULL AS is_key,
           coalesce(pg_get_constraintdef(c.oid),
                    replace(pg_get_indexdef(i.oid), ' ON ONLY ', ' ON ')) AS definition
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    LEFT JOIN pg_constraint c ON c.conindid = i.oid AND c.conrelid = t.oid
    WHERE t.relname = ANY(:tables) AND t.relnamespace = 'public'::regnamespace
      AND i.relname <> ALL(:kept)
      AND NOT EXISTS (SELECT 1 FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.oid)
    ORDER BY x.indisprimary DESC, i.relname
""")

# These triggers check foreign keys row by row, or are deferred and run for each row at the commit.
_CHECKS = text("""
    SELECT g.tgname AS name, t.relname AS "table"
    FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
    JOIN pg_constraint c ON c.oid = g.tgconstraint AND c.conrelid = t.oid
    WHERE t.relname = ANY(:tables) AND (g.tgisinternal OR g.tginitdeferred)
""")


@asynccontextmanager
async def bare_tables(
    database_url: str, tables: Sequence[str], *, kept: Sequence[str] = ()
) -> AsyncIterator[AsyncConnection]:
    """Yield a transaction in which the tables lack indexes, foreign keys and row triggers.

    At the end of the block, all of them are created again, and the transaction is committed.
    Triggers that count rows stay active. The planner has no statistics of the new rows, so nested
    loop joins are switched off, and the planner uses hash joins.

    Args:
        database_url: The URL of the database.
        tables: The names of the tables.
        kept: Indexes and keys that stay, because a trigger that counts rows reads them.
    """
    async with open_engine(database_url) as engine:
        await _set_wal(engine, f"ALTER SYSTEM SET max_wal_size = '{_LOAD_WAL}'")
        async with engine.begin() as connection:
            values = {"tables": list(tables), "kept": list(kept)}
            indexes = (await connection.execute(_INDEXES, values)).all()
            checks = (await connection.execute(_CHECKS, {"tables": list(tables)})).all()
            for check in checks:
                await connection.exec_driver_sql(
                    f'ALTER TABLE "{check.table}" DISABLE TRIGGER "{check.name}"'
                )
            for index in indexes:
                what = f'ALTER TABLE "{index.table}" DROP CONSTRAINT' if index.is_key else None
                await connection.exec_driver_sql(f'{what or "DROP INDEX"} "{index.name}"')
            await connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
            yield connection
            await connection.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{_INDEX_MEMORY}'")
            for index in indexes:
                what = f'ALTER TABLE "{index.table}" ADD CONSTRAINT "{index.name}" '
                await connection.exec_driver_sql((what if index.is_key else "") + index.definition)
            for check in checks:
                await connection.exec_driver_sql(
                    f'ALTER TABLE "{check.table}" ENABLE TRIGGER "{check.name}"'
                )
        await _set_wal(engine, "ALTER SYSTEM RESET max_wal_size")


async def _set_wal(engine: AsyncEngine, statement: str) -> None:
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.exec_driver_sql(statement)
        await plain.exec_driver_sql("SELECT pg_reload_conf()")
