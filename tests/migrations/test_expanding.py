"""The code of the last release still runs on the new schema (docs/how-to/upgrades.md)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.migrations.expanding import breaking_changes, listed, read_schema
from tests.migrations.support import connected_engine, own_database

from crm_api.platform import migration_runner, schema_revisions

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "upgrades.md"


def constrain_notice_states(states: str, ending: str = " NOT VALID") -> str:
    return (
        "ALTER TABLE alert_notice DROP CONSTRAINT ck_alert_notice_told_as; "
        "ALTER TABLE alert_notice ADD CONSTRAINT ck_alert_notice_told_as "
        f"CHECK (told_as IN ({states})){ending}"
    )


ADDS_ONLY = [
    "ALTER TABLE contact ADD COLUMN shoe_size text",
    "ALTER TABLE contact ADD COLUMN shoe_size text NOT NULL DEFAULT ''",
    "ALTER TABLE contact ALTER COLUMN phone DROP NOT NULL",
    "ALTER TABLE alert_notice DROP CONSTRAINT ck_alert_notice_told_as",
    constrain_notice_states("'opened', 'escalated', 'resolved', 'forgotten'"),
    "CREATE TABLE shoe (id uuid PRIMARY KEY, size text NOT NULL CHECK (size <> ''))",
    "CREATE TABLE shoe (id uuid); CREATE INDEX idx_shoe_id ON shoe (id)",
    "DROP INDEX idx_contact_created",
    "CREATE OR REPLACE FUNCTION search_fold(value text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
]
BREAKS = [
    ("DROP TABLE contact_note CASCADE", "contact_note: the table is missing"),
    ("ALTER TABLE contact_note RENAME TO remark", "contact_note: the table is missing"),
    ("ALTER TABLE contact DROP COLUMN company CASCADE", "contact.company: the column is missing"),
    (
        "ALTER TABLE contact RENAME COLUMN company TO firm",
        "contact.company: the column is missing",
    ),
    (
        "ALTER TABLE contact ADD COLUMN a text NOT NULL",
        "contact.a: a new column that must be given",
    ),
    (
        "ALTER TABLE line ALTER COLUMN daily_limit TYPE bigint",
        "line.daily_limit: its type changes",
    ),
    (
        "ALTER TABLE line ALTER COLUMN daily_limit TYPE bigint",
        "line: the table is rewritten under a lock",
    ),
    (
        "ALTER TABLE contact ALTER COLUMN company SET NOT NULL",
        "contact.company: it may no longer be empty",
    ),
    (
        "ALTER TABLE contact ADD CONSTRAINT short CHECK (length(company) < 9) NOT VALID",
        "contact: short is a new rule for what is written",
    ),
    (
        constrain_notice_states("'opened', 'resolved', 'forgotten'"),
        "alert_notice: ck_alert_notice_told_as is a new rule for what is written",
    ),
    (
        constrain_notice_states("'opened', 'escalated', 'resolved', 'forgotten'", ""),
        "alert_notice: ck_alert_notice_told_as is checked under a lock, not NOT VALID first",
    ),
    (
        "CREATE UNIQUE INDEX apart ON contact (company)",
        "contact: apart is a new rule for what is written",
    ),
    (
        "CREATE INDEX by_company ON contact (company)",
        "contact: index by_company is not built concurrently",
    ),
    (
        "ALTER TABLE contact ADD COLUMN b uuid DEFAULT gen_random_uuid()",
        "contact: the table is rewritten under a lock",
    ),
    ("DROP FUNCTION search_fold(text) CASCADE", "search_fold(text): the function is missing or "),
]


@pytest_asyncio.fixture(scope="module")
async def migrated(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    async with own_database(engine, "crm_expanding") as url:
        await migration_runner.upgrade(url)
        async with connected_engine(url) as own:
            yield own


async def breaking_changes_of(engine: AsyncEngine, change: str) -> list[str]:
    async with engine.connect() as connection:
        before = await read_schema(connection)
        for statement in change.split("; "):
            await connection.exec_driver_sql(statement)
        after = await read_schema(connection)
        await connection.rollback()
    return breaking_changes(before, after, [change])


@pytest.mark.parametrize("change", ADDS_ONLY, ids=range(len(ADDS_ONLY)))
async def test_additive_change_is_accepted(migrated: AsyncEngine, change: str) -> None:
    assert await breaking_changes_of(migrated, change) == []


@pytest.mark.parametrize(("change", "finding"), BREAKS, ids=range(len(BREAKS)))
async def test_breaking_change_is_reported(
    migrated: AsyncEngine, change: str, finding: str
) -> None:
    assert [one for one in await breaking_changes_of(migrated, change) if one.startswith(finding)]


@contextmanager
def recorded(engine: AsyncEngine) -> Iterator[list[str]]:
    seen: list[str] = []

    def remember(*given: Any) -> None:
        seen.append(given[2])

    event.listen(engine.sync_engine, "before_cursor_execute", remember)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", remember)


async def test_code_of_the_last_release_runs_after_the_migrations_since(
    engine: AsyncEngine,
) -> None:
    async with own_database(engine, "crm_released") as url:
        await migration_runner.upgrade(url, revision=schema_revisions.serves_since())
        async with connected_engine(url) as own:
            async with own.connect() as connection:
                before = await read_schema(connection)
            with recorded(own) as statements:
                async with own.connect() as connection:
                    await connection.run_sync(migration_runner.run, target="head")
            async with own.connect() as connection:
                after = await read_schema(connection)

    page = PAGE.read_text()
    intended, kept = listed(page, "Stops"), listed(page, "Rules that its code already keeps")
    assert all(rule.endswith("a new rule for what is written") for rule in kept)
    assert breaking_changes(before, after, statements) == sorted(intended | kept)


def test_schema_revision_of_every_release_is_known() -> None:
    assert all(schema_revisions.knows(release.revision) for release in schema_revisions.releases())
