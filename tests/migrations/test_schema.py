"""The migrations go up, down and up again, and they create the schema of the models."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.migrations.support import connected_engine, own_database

from crm_api.domain.all_tables import metadata
from crm_api.platform.migration_runner import downgrade, upgrade
from crm_api.platform.schema_revisions import current_revision, head_revision

# This query returns the name and definition of every object of the schema. Dropped columns and the
# positions of columns are left out. Monthly partitions are also left out, because they are created
# as time passes.
SNAPSHOT = text("""
    SELECT 'column' AS kind, c.relname || '.' || a.attname AS name,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity, a.attgenerated,
                     pg_get_expr(d.adbin, d.adrelid)) AS definition
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'index', i.indexname, i.indexdef FROM pg_indexes i
    JOIN pg_class r ON r.oid = to_regclass(i.indexname)
    WHERE i.schemaname = 'public' AND NOT r.relispartition
    UNION ALL
    SELECT 'constraint', r.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid AND NOT r.relispartition
    WHERE k.connamespace = 'public'::regnamespace AND k.contype <> 't'
    UNION ALL
    SELECT 'trigger', r.relname || '.' || t.tgname, pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN pg_class r ON r.oid = t.tgrelid AND NOT r.relispartition
    WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'function', p.proname, pg_get_functiondef(p.oid)
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.probin IS NULL
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1, 2
""")
MADE_BY_MIGRATIONS_ONLY = ("trigger", "function")
"""Kinds of objects that the models do not have."""

Snapshot = dict[tuple[str, str], str]


@pytest_asyncio.fixture
async def empty_url(engine: AsyncEngine) -> AsyncIterator[str]:
    async with own_database(engine, "crm_empty") as url:
        yield url


async def snapshot(database_url: str) -> Snapshot:
    async with connected_engine(database_url) as engine, engine.connect() as connection:
        rows = await connection.execute(SNAPSHOT)
        return {
            (row.kind, row.name): row.definition
            for row in rows
            if not row.name.startswith("alembic_version")
        }


async def test_migrations_upgrade_downgrade_and_upgrade_again(empty_url: str) -> None:
    untouched = await snapshot(empty_url)

    await upgrade(empty_url)
    first = await snapshot(empty_url)
    await downgrade(empty_url, revision="base")
    bare = await snapshot(empty_url)
    await upgrade(empty_url)
    second = await snapshot(empty_url)

    assert bare == untouched
    assert second == first
    assert len(first) > 200
    async with connected_engine(empty_url) as engine:
        assert await current_revision(engine) == head_revision()


async def test_second_upgrade_changes_nothing(empty_url: str) -> None:
    await upgrade(empty_url)
    first = await snapshot(empty_url)

    await upgrade(empty_url)

    assert await snapshot(empty_url) == first


def _differences(connection: Connection) -> list[Any]:
    options = {
        "compare_type": True,
        "target_metadata": metadata,
        "include_object": lambda _, name, kind, *__: (
            kind != "table" or re.search(r"_(\d{4}_\d\d|default)$", name) is None
        ),
    }
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def test_autogenerate_finds_no_difference(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        differences = await connection.run_sync(_differences)

    assert differences == []


async def test_models_and_migrations_create_the_same_schema(
    engine: AsyncEngine, empty_url: str
) -> None:
    """Test what autogenerate does not compare.

    These are CHECKs, partial predicates, defaults and operator classes.
    """
    await upgrade(empty_url)
    migrated = await snapshot(empty_url)

    async with own_database(engine, "crm_modelled") as url:
        async with connected_engine(url) as modelled, modelled.begin() as connection:
            await connection.execute(text("CREATE EXTENSION pg_trgm"))
            await connection.exec_driver_sql(migrated["function", "search_fold"])
            await connection.run_sync(metadata.create_all)
        made = await snapshot(url)

    assert dict(_tables_of(made)) == dict(_tables_of(migrated))


def _tables_of(found: Snapshot) -> Iterator[tuple[tuple[str, str], str]]:
    return (item for item in found.items() if item[0][0] not in MADE_BY_MIGRATIONS_ONLY)
