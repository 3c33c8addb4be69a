"""A new contact adopts the conversations of its number, and its statement reads only those.

The session's plan of a trigger is made while the tables are empty, as in a new installation.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

STRANGERS = 3_000
"""Numbers without a contact; a statement that reads all of them reads more than ``MOST_READ``."""
MOST_READ = 1_000
ADD_CONTACTS = text("""
    INSERT INTO contact (id, phone, zone_key, source, created_at, updated_at)
    SELECT uuid_v7(), '+1617555' || lpad(CAST(n AS text), 4, '0'), 'MA/America/New_York', 'message',
           now(), now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
""")
ADD_CONVERSATIONS = text("""
    INSERT INTO conversation (id, line_id, phone, last_activity_at, created_at, updated_at)
    SELECT uuid_v7(), uuid_v7(), '+1617555' || lpad(CAST(n AS text), 4, '0'), now(), now(), now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
""")
READ_ROWS = text("""
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'conversation'
""")


async def read_by_new_contacts(session: AsyncSession) -> int:
    """Add a hundred contacts; return how many conversations their statement reads."""
    before = (await session.execute(READ_ROWS)).scalar_one()
    await session.execute(ADD_CONTACTS, {"first": 1, "last": 100})
    return int((await session.execute(READ_ROWS)).scalar_one() - before)


async def test_new_contacts_read_only_their_own_conversations(session: AsyncSession) -> None:
    await session.execute(ADD_CONVERSATIONS, {"first": 9001, "last": 9001})
    await session.execute(ADD_CONTACTS, {"first": 9001, "last": 9001})
    await session.execute(ADD_CONVERSATIONS, {"first": 1, "last": STRANGERS})

    read = await read_by_new_contacts(session)

    left = await session.scalar(text("SELECT count(*) FROM conversation WHERE contact_id IS NULL"))
    assert left == STRANGERS - 100
    assert read < MOST_READ
