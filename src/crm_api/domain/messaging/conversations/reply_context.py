"""Find the message to which a person replied, as context for the reply reader."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.reply_reader.analysis import Context
from crm_api.domain.consent.reply_reader.reader import NO_CONTEXT
from crm_api.domain.messaging.models.conversations import (
    Activity,
    Origin,
)
from crm_api.platform.database import UnitOfWork

OF_THE_OFFICE = (Origin.MANUAL, Origin.PROVIDER)
"""The origins of messages that an employee wrote, in this service or in the provider's app."""

LAST_OUTGOING = text("""
    SELECT w.position, o.origin, right(rtrim(o.body), 1) = '?' AS is_question
    FROM unnest(CAST(:line_ids AS uuid[]), CAST(:phones AS text[]), CAST(:ats AS timestamptz[]))
        WITH ORDINALITY AS w (line_id, phone, at, position)
    JOIN conversation c ON c.line_id = w.line_id AND c.phone = w.phone
    CROSS JOIN LATERAL (
        SELECT t.origin, t.body FROM activity t
        WHERE t.conversation_id = c.id AND t.occurred_at <= w.at
          AND t.kind = 'message' AND t.direction = 'outgoing'
        ORDER BY t.occurred_at DESC, t.id DESC LIMIT 1
    ) o
""")


async def read_reply_contexts(
    uow: UnitOfWork, messages: Sequence[tuple[UUID, str, datetime]]
) -> list[Context]:
    """Return the context of received messages for the reply reader, in the order of ``messages``.

    The context describes the last message that was sent in the conversation before the received
    message: whether an employee wrote it, and whether it ended with a question mark.

    Args:
        messages: The line and the sender of each message, and when the message was received.
    """
    if not messages:
        return []
    found = await uow.session.execute(
        LAST_OUTGOING,
        {
            "line_ids": [line_id for line_id, _, _ in messages],
            "phones": [phone for _, phone, _ in messages],
            "ats": [at for _, _, at in messages],
        },
    )
    contexts = [NO_CONTEXT] * len(messages)
    for row in found:
        contexts[row.position - 1] = Context(
            is_sale=row.origin in OF_THE_OFFICE, is_question=bool(row.is_question)
        )
    return contexts


async def was_sent_lately(
    session: AsyncSession,
    *,
    conversation_id: UUID,
    origin: Origin,
    within: timedelta,
    now: datetime,
) -> bool:
    """Return True if a message of this origin in the conversation is at most ``within`` old."""
    query = select(Activity.id).where(
        Activity.conversation_id == conversation_id,
        Activity.origin == origin.value,
        Activity.occurred_at > now - within,
    )
    return (await session.execute(query.limit(1))).first() is not None
