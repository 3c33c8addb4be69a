"""The migration computes when each conversation had its last contact, from messages and calls."""

from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.migrations.support import connected_engine, own_database

from crm_api.platform.migration_runner import downgrade, upgrade

CONVERSATION = """
    INSERT INTO conversation (id, line_id, phone, last_activity_at, created_at)
    VALUES (md5('talk')::uuid, md5('line')::uuid, '+16175550123', :now, :now)
"""
ACTIVITIES = """
    INSERT INTO activity (id, kind, direction, origin, conversation_id, openphone_id, status,
        occurred_at, created_at, updated_at)
    SELECT uuid_v7(), kind, direction, 'provider', md5('talk')::uuid, openphone_id, status,
           CAST(:now AS timestamptz) - days * interval '1 day', :now, :now
    FROM (VALUES
        ('message', 'outgoing', NULL, 'failed', 1),
        ('message', 'outgoing', 'AC2', 'failed', 2),
        ('message', 'outgoing', 'AC3', 'delivered', 3),
        ('call', 'incoming', 'AC4', 'completed', 4),
        ('message', 'incoming', 'AC5', 'received', 5),
        ('message', 'incoming', 'AC6', 'received', 6)
    ) AS said (kind, direction, openphone_id, status, days)
"""
DAYS = """
    SELECT extract(day FROM CAST(:now AS timestamptz) - last_outgoing_at)::int AS outgoing,
           extract(day FROM CAST(:now AS timestamptz) - last_incoming_at)::int AS incoming
    FROM conversation
"""


@pytest_asyncio.fixture
async def url(engine: AsyncEngine) -> AsyncIterator[str]:
    async with own_database(engine, "crm_last_contact") as url:
        yield url


async def test_migration_sets_contact_times_from_messages_and_calls(url: str) -> None:
    await upgrade(url)
    await downgrade(url, revision="20261125_0012")
    async with connected_engine(url) as engine:
        async with engine.begin() as connection:
            await connection.execute(text(CONVERSATION), {"now": NOW})
            await connection.execute(text(ACTIVITIES), {"now": NOW})

        await upgrade(url)

        async with engine.connect() as connection:
            row = (await connection.execute(text(DAYS), {"now": NOW})).one()
    assert (row.outgoing, row.incoming) == (2, 5)
