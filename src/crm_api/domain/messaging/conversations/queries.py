"""Read conversations, messages and calls from the database."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.conversations import (
    Activity,
    ActivityKind,
    Conversation,
)

Position = tuple[datetime, UUID]
"""Where a page of a list begins: after the row with this time and id."""


async def get_conversation(session: AsyncSession, conversation_id: UUID) -> Conversation | None:
    """Return the conversation with this id; None if it does not exist."""
    return await session.get(Conversation, conversation_id)


async def get_activity(
    session: AsyncSession, activity_id: UUID, *, kind: ActivityKind
) -> Activity | None:
    """Return the message or call with this id; None if no row of this kind has the id."""
    query = select(Activity).where(Activity.id == activity_id, Activity.kind == kind.value)
    return (await session.scalars(query)).one_or_none()


async def list_conversations(
    session: AsyncSession,
    *,
    line_id: UUID | None,
    contact_id: UUID | None,
    phone: str | None,
    after: Position | None,
    limit: int,
) -> list[Conversation]:
    """Return up to ``limit`` conversations, the most recently active first."""
    query: Select[tuple[Conversation]] = select(Conversation)
    if line_id is not None:
        query = query.where(Conversation.line_id == line_id)
    if contact_id is not None:
        query = query.where(Conversation.contact_id == contact_id)
    if phone is not None:
        query = query.where(Conversation.phone == phone)
    if after is not None:
        query = query.where(tuple_(Conversation.last_activity_at, Conversation.id) < after)
    query = query.order_by(Conversation.last_activity_at.desc(), Conversation.id.desc())
    return list(await session.scalars(query.limit(limit)))


async def list_messages(
    session: AsyncSession, *, conversation_id: UUID, after: Position | None, limit: int
) -> list[Activity]:
    """Return up to ``limit`` messages of a conversation, newest first."""
    query = select(Activity).where(
        Activity.conversation_id == conversation_id, Activity.kind == ActivityKind.MESSAGE.value
    )
    return await _newest(session, query, after=after, limit=limit)


async def list_calls(
    session: AsyncSession, *, after: Position | None, limit: int
) -> list[Activity]:
    """Return up to ``limit`` calls, newest first."""
    query = select(Activity).where(literal_column("activity.kind = 'call'"))
    return await _newest(session, query, after=after, limit=limit)


async def _newest(
    session: AsyncSession, query: Select[Activity], *, after: Position | None, limit: int
) -> list[Activity]:
    if after is not None:
        query = query.where(tuple_(Activity.occurred_at, Activity.id) < after)
    query = query.order_by(Activity.occurred_at.desc(), Activity.id.desc()).limit(limit)
    return list(await session.scalars(query))
