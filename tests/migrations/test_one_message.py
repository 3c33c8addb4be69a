"""The migration joins the messages of one recipient if their attempts sent nothing."""

from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.migrations.support import connected_engine, own_database

from crm_api.platform.migration_runner import downgrade, upgrade

BEFORE = "20261128_0051"
# Each recipient has a status, and the statuses of its attempts, oldest first.
RECIPIENTS: dict[str, tuple[str, list[str]]] = {
    "retried": ("sent", ["released", "sent"]),
    "found missing": ("delivered", ["not_found", "released", "delivered"]),
    "waits": ("pending", ["released"]),
    "waits again": ("pending", ["not_found", "released"]),
    "opted out": ("skipped", ["released"]),
}
MEMBER = """
    INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key, status,
        skip_reason, due_at, created_at, updated_at)
    VALUES (md5(:name)::uuid, md5('campaign')::uuid, 0, md5(:name)::uuid, :name, 'MA', :status,
        CASE WHEN :status = 'skipped' THEN 'opted_out' END, :now, :now, :now)
"""
ATTEMPT = """
    WITH attempt AS (
        INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
            status, created_at, updated_at)
        VALUES (md5(:key)::uuid, md5(:name)::uuid, md5('campaign')::uuid, md5('line')::uuid,
            md5(:key)::uuid, :name, 'Hi', :status, CAST(:now AS timestamptz) + :place * interval
            '1 hour', :now)
    )
    INSERT INTO activity (id, kind, direction, origin, phone, body, status, occurred_at, created_at,
        updated_at)
    VALUES (md5(:key)::uuid, 'message', 'outgoing', 'campaign', :name, 'Hi',
        CASE :status WHEN 'not_found' THEN 'failed' ELSE :status END, :now, :now, :now)
"""
SHOWN = """
    SELECT m.phone, count(DISTINCT a.activity_id) AS messages,
           (SELECT string_agg(t.status, ',') FROM activity t WHERE t.phone = m.phone) AS statuses,
           bool_and(m.activity_id = a.activity_id) AS is_named
    FROM campaign_membership m JOIN send_attempt a ON a.membership_id = m.id
    GROUP BY m.phone
"""


@pytest_asyncio.fixture
async def url(engine: AsyncEngine) -> AsyncIterator[str]:
    async with own_database(engine, "crm_one_message") as url:
        yield url


async def test_migration_leaves_one_message_per_recipient_and_emits_no_event(url: str) -> None:
    await upgrade(url)
    await downgrade(url, revision=BEFORE)
    async with connected_engine(url) as engine:
        async with engine.begin() as connection:
            for name, (status, attempts) in RECIPIENTS.items():
                values = {"name": name, "now": NOW}
                await connection.execute(text(MEMBER), values | {"status": status})
                for place, outcome in enumerate(attempts):
                    one = {"key": f"{name} {place}", "status": outcome, "place": place}
                    await connection.execute(text(ATTEMPT), values | one)
        async with engine.connect() as connection:
            before = await connection.scalar(text("SELECT count(*) FROM event"))

        await upgrade(url)

        async with engine.connect() as connection:
            rows = (await connection.execute(text(SHOWN))).all()
            after = await connection.scalar(text("SELECT count(*) FROM event"))
    assert {row.phone: (row.messages, row.statuses) for row in rows} == {
        "retried": (1, "sent"),
        "found missing": (1, "delivered"),
        "waits": (1, "queued"),
        "waits again": (1, "queued"),
        "opted out": (1, "failed"),
    }
    assert {row.phone for row in rows if row.is_named} == {"waits", "waits again"}
    assert after == before
