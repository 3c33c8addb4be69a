"""A migration that was interrupted runs again, and the database gets the same schema and rows.

Alembic runs each revision in a transaction, and stores the revision at the end of it. An autocommit
block of a revision first commits the statements before it. Then each statement of the block is
committed separately. The statements after the block run in a new transaction, which also stores the
revision. So after an interruption, the next migration runs the whole revision again.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.migrations.support import connected_engine, own_database
from tests.migrations.test_one_message import ATTEMPT, MEMBER, RECIPIENTS
from tests.migrations.test_schema import SNAPSHOT

from crm_api.platform import migration_runner
from crm_api.platform.processes import StartError
from crm_api.platform.schema_revisions import current_revision

SCRIPTS = ScriptDirectory.from_config(migration_runner.config())
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
"""All revisions, the oldest first."""

EVENT = """
    INSERT INTO webhook_event (id, provider_event_id, scheme, type, next_attempt_at, received_at,
        payload)
    VALUES ('01980000-0000-7000-8000-000000000001', 'EV1', 'legacy', 'call.ringing', :now, :now,
        '{}')
"""
MESSAGE = """
    INSERT INTO activity (id, kind, origin, openphone_id, status, occurred_at, created_at,
        updated_at)
    VALUES ('01980000-0000-7000-8000-000000000002', 'message', 'provider', 'AC1', 'sent', :now,
        :now, :now)
"""
LINE = """
    INSERT INTO line (id, phone_number_id, number, name, created_at, updated_at)
    VALUES (md5('line')::uuid, 'PN1', '+16175550100', 'Office', :now, :now)
"""
CAMPAIGN = """
    INSERT INTO campaign (id, name, line_id, audience, days, window_start, window_end, created_at,
        updated_at)
    VALUES (md5('campaign')::uuid, 'Roofs', md5('line')::uuid, '{}', ARRAY['mon'], '09:00', '18:00',
        :now, :now)
"""
TEMPLATE = """
    INSERT INTO message_template (id, name, body, created_at, updated_at)
    VALUES (md5('template')::uuid, 'Hello', 'Hi', :now, :now)
"""
CONVERSATION = """
    INSERT INTO conversation (id, line_id, phone, last_activity_at, last_incoming_at, state,
        created_at)
    VALUES (md5('talk')::uuid, md5('line')::uuid, '+16175550123', :now, :now, 'open', :now)
"""
READ = """
    INSERT INTO conversation_read (caller_id, conversation_id, read_until)
    VALUES ('user', md5('talk')::uuid, :now)
"""
INTERESTED = """
    INSERT INTO activity (id, kind, direction, origin, status, occurred_at, created_at, updated_at,
        campaign_id, contact_id, reply_class)
    VALUES (md5('reply')::uuid, 'message', 'incoming', 'provider', 'received', :now, :now, :now,
        md5('campaign')::uuid, md5('retried')::uuid, 'interested')
"""
REPLIED = "UPDATE campaign_membership SET replied_at = :now WHERE phone = 'retried'"
Statement = tuple[str, Mapping[str, object]]
ROWS: dict[str, list[Statement]] = {
    "20261126_0042": [(EVENT, {}), (MESSAGE, {})],
    "20261128_0051": [
        (LINE, {}),
        (CAMPAIGN, {}),
        *((MEMBER, {"name": name, "status": status}) for name, (status, _) in RECIPIENTS.items()),
        *(
            (ATTEMPT, {"name": name, "key": f"{name} {place}", "status": status, "place": place})
            for name, (_, attempts) in RECIPIENTS.items()
            for place, status in enumerate(attempts)
        ),
    ],
    "20261129_0074": [(TEMPLATE, {})],
    "20261129_0092": [(CONVERSATION, {}), (READ, {})],
    "20261129_0097": [(INTERESTED, {}), (REPLIED, {})],
}
"""Rows to store after a revision, because later revisions change or copy them."""

DETAILS = text("""
    SELECT 'columns' AS kind, c.relname AS name,
           string_agg(a.attname, ' ' ORDER BY a.attnum) AS definition
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'relation', c.relname,
           concat_ws(' ', c.relkind, c.reloptions::text, pg_get_expr(c.relpartbound, c.oid))
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'partition', i.inhrelid::regclass::text, i.inhparent::regclass::text FROM pg_inherits i
    UNION ALL
    SELECT 'invalid index', x.indexrelid::regclass::text, '' FROM pg_index x
    WHERE NOT x.indisvalid
""")
"""The order of columns, the partitions with their indexes, and the invalid indexes."""
TABLES = text("""
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
""")
UNLIKE = ["id", "recorded_at", "transaction_id"]
"""Columns whose values differ between two databases with the same history."""
BUILDS_INDEX = re.compile(r"\s*CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?(\w+)")
INVALIDATE = text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(:name)")


class InterruptedMigration(Exception):  # noqa: N818 - not an error of the service
    """The migration was interrupted at a statement.

    Args:
        built: Name of the index that the statement was building, if any.
    """

    def __init__(self, statement: str, *, built: str | None = None) -> None:
        super().__init__(statement)
        self.built = built


class Interruptions:
    """Interrupt a migration once at each point that leaves another state in the database.

    The points are before each statement of an autocommit block, before the first statement after a
    block, and before the statement that stores the revision. Only a statement that builds an index
    is interrupted at its end, because it leaves an invalid index.
    """

    def __init__(self) -> None:
        self._done: set[str] = set()
        self._is_in_block = False
        self.has_blocks = False
        """True once a statement of an autocommit block was seen."""

    def before(self, *given: Any) -> None:
        connection, _, statement, parameters, *_ = given
        was_in_block = self._is_in_block
        self._is_in_block = (
            connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        )
        self.has_blocks = self.has_blocks or self._is_in_block
        is_last = statement.startswith("UPDATE alembic_version")
        if (self._is_in_block or was_in_block or is_last) and not BUILDS_INDEX.match(statement):
            self._interrupt_once(statement, parameters)

    def after(self, *given: Any) -> None:
        _, _, statement, parameters, *_ = given
        if self._is_in_block and (found := BUILDS_INDEX.match(statement)):
            self._interrupt_once(statement, parameters, built=found[1])

    def _interrupt_once(self, statement: str, parameters: Any, *, built: str | None = None) -> None:
        key = f"{statement} {parameters}"
        if key not in self._done:
            self._done.add(key)
            self._is_in_block = False
            raise InterruptedMigration(statement, built=built)


@contextmanager
def listening(engine: AsyncEngine, interruptions: Interruptions) -> Iterator[None]:
    on = (
        (engine.sync_engine, "before_cursor_execute", interruptions.before),
        (engine.sync_engine, "after_cursor_execute", interruptions.after),
    )
    for one in on:
        event.listen(*one)
    try:
        yield
    finally:
        for one in on:
            event.remove(*one)


def migrate(connection: Connection, target: str, *, is_down: bool) -> None:
    """Run `migrations/env.py` as `alembic.command` does.

    The command would load all revisions again at each call, which takes longer than most revisions.
    """
    steps = SCRIPTS._downgrade_revs if is_down else SCRIPTS._upgrade_revs
    settings = migration_runner.config()
    settings.attributes["connection"] = connection
    with EnvironmentContext(settings, SCRIPTS, fn=lambda at, _: steps(target, at)):
        SCRIPTS.run_env()
    connection.commit()


async def move(engine: AsyncEngine, target: str, *, is_down: bool = False) -> None:
    async with engine.connect() as connection:
        await connection.run_sync(migrate, target, is_down=is_down)


async def move_with_interruptions(
    engine: AsyncEngine, target: str, *, is_down: bool = False
) -> bool:
    """Move by one revision, again after each interruption; return True if it has blocks."""
    interruptions = Interruptions()
    last: InterruptedMigration | None = None
    while True:
        try:
            with listening(engine, interruptions):
                await move(engine, target, is_down=is_down)
        except InterruptedMigration as interrupted:
            last = interrupted
        except Exception as error:
            error.add_note(f"The move to {target} ran again after an interruption at: {last}")
            raise
        else:
            return interruptions.has_blocks
        if last.built is not None:
            async with engine.begin() as connection:
                await connection.execute(INVALIDATE, {"name": last.built})


async def read(engine: AsyncEngine) -> list[tuple[str, ...]]:
    """Return the schema, and all rows without the columns in ``UNLIKE``."""
    async with engine.connect() as connection:
        schema = [
            (str(row.kind), row.name, row.definition)
            for query in (SNAPSHOT, DETAILS)
            for row in await connection.execute(query)
        ]
        rows = " UNION ALL ".join(
            f"SELECT 'row', '{name}', (to_jsonb(t) - CAST(:unlike AS text[]))::text FROM {name} t"
            for name in await connection.scalars(TABLES)
        )
        found = [tuple(row) for row in await connection.execute(text(rows), {"unlike": UNLIKE})]
    return sorted([*schema, *found])


async def store_rows(engine: AsyncEngine, revision: str) -> None:
    async with engine.begin() as connection:
        for statement, values in ROWS.get(revision, ()):
            await connection.execute(text(statement), {"now": NOW, **values})


@pytest.mark.timeout(240)
async def test_interrupted_migration_runs_again_and_gives_the_same_database(
    engine: AsyncEngine,
) -> None:
    downwards = [*REVISIONS[-2::-1], "base"]
    compared = 0
    async with (
        own_database(engine, "crm_interrupted") as url,
        own_database(engine, "crm_uninterrupted") as other_url,
        connected_engine(url) as interrupted,
        connected_engine(other_url) as uninterrupted,
    ):
        for target, is_down in [*((r, False) for r in REVISIONS), *((r, True) for r in downwards)]:
            has_blocks = await move_with_interruptions(interrupted, target, is_down=is_down)
            await move(uninterrupted, target, is_down=is_down)

            if has_blocks:
                compared += 1
                assert await read(interrupted) == await read(uninterrupted), target
            if not is_down:
                await store_rows(interrupted, target)
                await store_rows(uninterrupted, target)
    assert compared > 40


async def test_migration_that_waited_too_long_in_a_block_succeeds_later(
    engine: AsyncEngine,
) -> None:
    before, revision = "20261129_0079", "20261129_0080"
    async with own_database(engine, "crm_interrupted") as url, connected_engine(url) as own:
        await migration_runner.upgrade(url, revision=before)
        async with own.connect() as user:
            # With this lock, the build of the index waits, but the statements before it do not.
            await user.execute(text("LOCK TABLE conversation_note IN ROW EXCLUSIVE MODE"))
            async with connected_engine(url) as other, other.connect() as migrating:
                with pytest.raises(StartError, match="in use at each of 5 tries"):
                    await migrating.run_sync(
                        migration_runner.run, target=revision, lock_seconds=0.02, pause_seconds=0
                    )
            await user.rollback()

        await migration_runner.upgrade(url, revision=revision)

        assert await current_revision(own) == revision
        assert not [one for one in await read(own) if one[0] == "invalid index"]
