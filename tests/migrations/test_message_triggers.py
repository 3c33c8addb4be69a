"""Triggers write an event and a key for each message, even if one statement changes several."""

import pytest
import pytest_asyncio
from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

ADD = text("""
    INSERT INTO activity (id, kind, direction, origin, phone, status, rank, openphone_id,
        occurred_at, created_at, updated_at)
    SELECT uuid_v7(), n.kind, 'outgoing', 'provider', n.phone, n.status, 1, n.openphone_id, now(),
           now(), now()
    FROM (VALUES ('message', '1', 'sending', NULL), ('message', '2', 'queued', NULL),
                 ('message', '3', 'sent', 'AC3'), ('message', '4', 'sent', 'AC4'),
                 ('call', '5', 'ringing', 'AC5')) AS n (kind, phone, status, openphone_id)
""")
EVENTS = text("""
    SELECT a.phone, e.data ->> 'status' AS status
    FROM event e JOIN activity a ON a.id = e.subject_id
    WHERE e.type = 'message.status' ORDER BY e.id
""")
KEYS = text("""
    SELECT a.phone, k.openphone_id FROM activity_key k JOIN activity a ON a.id = k.activity_id
    ORDER BY a.phone
""")


@pytest_asyncio.fixture
async def messages(session: AsyncSession) -> AsyncSession:
    """Store four messages and a call, with the phones ``1`` to ``5``; delete their events."""
    await session.execute(ADD)
    await session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    await session.execute(text("DELETE FROM event"))
    return session


async def found(session: AsyncSession, query: TextClause) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in await session.execute(query)]


async def test_each_message_whose_status_changes_emits_one_event(messages: AsyncSession) -> None:
    await messages.execute(text("UPDATE activity SET status = 'sent'"))
    await messages.execute(text("UPDATE activity SET status = 'sent', updated_at = now()"))

    assert sorted(await found(messages, EVENTS)) == [("1", "sent"), ("2", "sent")]


async def test_message_that_goes_back_to_sending_emits_no_event(
    messages: AsyncSession,
) -> None:
    await messages.execute(text("UPDATE activity SET status = 'sending' WHERE kind = 'message'"))

    assert await found(messages, EVENTS) == []


async def test_keys_follow_the_ids_of_messages(messages: AsyncSession) -> None:
    before = await found(messages, KEYS)
    await messages.execute(
        text("""
            UPDATE activity SET openphone_id = CASE phone WHEN '1' THEN 'AC1' WHEN '2' THEN 'AC3'
                WHEN '3' THEN NULL ELSE openphone_id END
        """)
    )

    assert before == [("3", "AC3"), ("4", "AC4"), ("5", "AC5")]
    assert await found(messages, KEYS) == [("1", "AC1"), ("2", "AC3"), ("4", "AC4"), ("5", "AC5")]


async def test_id_of_another_message_is_refused(messages: AsyncSession) -> None:
    with pytest.raises(IntegrityError, match="pk_activity_key"):
        await messages.execute(text("UPDATE activity SET openphone_id = 'AC4' WHERE phone = '1'"))
