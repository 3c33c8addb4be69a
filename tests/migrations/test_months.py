"""A migration turns a table into the first month of a partitioned table, and keeps all rows.

The downgrade keeps all rows too.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.migrations.support import connected_engine, own_database

from crm_api.platform.migration_runner import downgrade, upgrade

BEFORE = "20261126_0038"
ADD = """
    INSERT INTO webhook_event (id, provider_event_id, scheme, type, next_attempt_at, received_at,
        payload)
    SELECT uuid_v7(), 'EV' || i, 'legacy', 'call.ringing', now(), now(), '{}'
    FROM generate_series(1, 3) i;
    INSERT INTO activity (id, kind, origin, openphone_id, status, occurred_at, created_at,
        updated_at)
    SELECT uuid_v7(), 'message', 'provider', CASE WHEN i < 3 THEN 'AC' || i END, 'sent', now(),
           now(), now()
    FROM generate_series(1, 3) i
"""
ADD_LATER = """
    INSERT INTO activity (id, kind, origin, openphone_id, status, occurred_at, created_at,
        updated_at)
    VALUES ('01ffffff-0000-7000-8000-000000000001', 'message', 'provider', 'AC9', 'sent', now(),
            now(), now())
"""
ROWS = """
    SELECT 'event' AS kind, id::text, provider_event_id AS name FROM webhook_event
    UNION ALL SELECT 'activity', id::text, openphone_id FROM activity ORDER BY 1, 2
"""
KEYS = """
    SELECT 'event', event_id::text, provider_event_id FROM webhook_event_key
    UNION ALL SELECT 'activity', activity_id::text, openphone_id FROM activity_key ORDER BY 1, 2
"""
TRIGGERS = """
    SELECT tgname FROM pg_trigger WHERE tgrelid = 'activity'::regclass AND NOT tgisinternal
    ORDER BY 1
"""
RENAMED = {
    "tell_call_status": "emit_call_status_event",
    "tell_message_status": "emit_message_status_event",
    "tell_new_message": "emit_new_message_event",
}
"""Triggers that a later revision renamed, with their new names."""
ADDED = (
    *("convert_released_message", "emit_received_message_event", "mark_interest"),
    *(f"note_late_answer_on_{one}" for one in ("delete", "update")),
    "note_late_answers",
)
"""Triggers that later revisions added."""
Found = list[tuple[object, ...]]


async def found(engine: AsyncEngine, query: str) -> Found:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


@pytest_asyncio.fixture
async def old_url(engine: AsyncEngine) -> AsyncIterator[str]:
    """Yield the URL of a database with rows, at the revision before the tested one."""
    async with own_database(engine, "crm_before_months") as url:
        await upgrade(url, revision=BEFORE)
        async with connected_engine(url) as old, old.begin() as connection:
            for statement in ADD.split(";"):
                await connection.execute(text(statement))
        yield url


async def test_upgrade_and_downgrade_keep_all_rows(old_url: str) -> None:
    async with connected_engine(old_url) as engine:
        before, triggers = await found(engine, ROWS), await found(engine, TRIGGERS)
        await upgrade(old_url)
        after = await found(engine, ROWS)
        keys = await found(engine, KEYS)
        own = {("drop_activity_key",), ("keep_activity_key",), ("keep_key_of_new_activity",)}
        later = {(name,) for name in ADDED}
        shared = await found(engine, TRIGGERS)
        async with engine.begin() as connection:
            await connection.execute(text(ADD_LATER))
        await downgrade(old_url, revision=BEFORE)
        back = await found(engine, ROWS)

        assert after == before
        assert keys == [row for row in before if row[2] is not None]
        renamed = {(RENAMED.get(str(name), name),) for (name,) in triggers}
        assert set(shared) == renamed | own | later
        assert {row for row in back if row[2] != "AC9"} == set(before)
        assert len(back) == len(before) + 1
        assert await found(engine, TRIGGERS) == triggers
        with pytest.raises(IntegrityError, match="idx_activity_openphone_id"):
            await _bind(engine, "AC1", to="AC2")


async def _bind(engine: AsyncEngine, name: str, *, to: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE activity SET openphone_id = :to WHERE openphone_id = :name"),
            {"name": name, "to": to},
        )


@pytest_asyncio.fixture
async def messages(connection: AsyncConnection) -> AsyncConnection:
    """Store messages with and without an id of the provider; one message is in another month."""
    await connection.execute(text(ADD.split(";")[1]))
    await connection.execute(text(ADD_LATER))
    return connection


async def _keys(connection: AsyncConnection) -> set[str]:
    rows = await connection.scalars(
        text(
            "SELECT k.openphone_id FROM activity_key k JOIN activity a "
            "ON a.id = k.activity_id AND a.openphone_id = k.openphone_id"
        )
    )
    return set(rows)


async def test_keys_follow_updates_and_deletes(messages: AsyncConnection) -> None:
    assert await _keys(messages) == {"AC1", "AC2", "AC9"}

    await messages.execute(
        text("UPDATE activity SET openphone_id = NULL WHERE openphone_id = 'AC1'")
    )
    await messages.execute(
        text("UPDATE activity SET openphone_id = 'AC1' WHERE openphone_id = 'AC2'")
    )
    await messages.execute(text("DELETE FROM activity WHERE openphone_id = 'AC9'"))

    assert await _keys(messages) == {"AC1"}
    assert await messages.scalar(text("SELECT count(*) FROM activity_key")) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE activity SET openphone_id = 'AC9' WHERE openphone_id = 'AC1'",
        ADD_LATER.replace("000000000001", "000000000002"),
    ],
    ids=["update", "insert"],
)
async def test_provider_id_is_unique_over_all_months(
    messages: AsyncConnection, statement: str
) -> None:
    with pytest.raises(IntegrityError, match="pk_activity_key"):
        await messages.execute(text(statement))
