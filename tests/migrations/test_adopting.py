"""A new contact gets the records of its number, and its trigger reads only these records.

The session plans the statement of the trigger while the tables have one row, as in a new
installation.
"""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

STRANGERS = 3_000
"""Number of phone numbers without a contact.

A statement that reads the records of all these numbers reads more than ``MOST_READ`` rows.
"""
MOST_READ = 1_000
_NUMBERS = """
    '+1617555' || lpad(CAST(n AS text), 4, '0') AS phone
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
"""
ADD_CONTACTS = f"""
    INSERT INTO contact (id, phone, zone_key, source, created_at, updated_at)
    SELECT uuid_v7(), phone, 'MA/America/New_York', 'message', now(), now()
    FROM (SELECT {_NUMBERS}) AS made
"""
ADD_RECORDS = {
    "conversation": f"""
        INSERT INTO conversation (id, line_id, phone, last_activity_at, created_at, updated_at)
        SELECT uuid_v7(), uuid_v7(), phone, now(), now(), now() FROM (SELECT {_NUMBERS}) AS made
    """,
    "outcome_subject": f"""
        WITH made AS MATERIALIZED (SELECT uuid_v7() AS id, {_NUMBERS}), recorded AS (
            INSERT INTO outcome (id, kind, currency, occurred_at, source, recorded_by, created_at)
            SELECT id, 'job_done', 'USD', now(), 'api', 'test', now() FROM made
        )
        INSERT INTO outcome_subject (outcome_id, phone) SELECT id, phone FROM made
    """,
}
READ_ROWS = text("""
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = :table
""")


async def add(session: AsyncSession, sql: str, *, first: int, last: int) -> None:
    await session.execute(text(sql), {"first": first, "last": last})


async def read_rows(session: AsyncSession, table: str) -> int:
    return int((await session.execute(READ_ROWS, {"table": table})).scalar_one())


@pytest.mark.parametrize("table", ADD_RECORDS)
async def test_new_contacts_read_only_their_own_records(session: AsyncSession, table: str) -> None:
    # The file of the table may be large, because the rows of rolled-back changes remain in it.
    await session.execute(text(f"TRUNCATE {table} CASCADE"))
    await add(session, ADD_RECORDS[table], first=9001, last=9001)
    await session.execute(text(f"ANALYZE {table}"))
    await add(session, ADD_CONTACTS, first=9001, last=9001)
    await add(session, ADD_RECORDS[table], first=1, last=STRANGERS)
    before = await read_rows(session, table)

    await add(session, ADD_CONTACTS, first=1, last=100)

    read = await read_rows(session, table) - before
    left = await session.scalar(text(f"SELECT count(*) FROM {table} WHERE contact_id IS NULL"))
    assert left == STRANGERS - 100
    assert read < MOST_READ
