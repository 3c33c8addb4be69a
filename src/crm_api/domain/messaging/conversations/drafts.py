"""Store the drafts (unsent messages) of users and API keys, and emit events about their changes.

Each user or API key (``caller_id``) has at most one draft in a conversation. With the events, all
screens of the caller show the same state.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.domain.messaging.models.conversations import Conversation, ConversationDraft
from crm_api.platform.database import UnitOfWork

# This event has the same fields as the event that `emit_conversation_event.sql` writes, and one
# field more: the id of the caller for whom the conversation changed.
RECORD_OWN_CHANGE = text(f"""
    INSERT INTO event (type, subject_id, data)
    SELECT '{EventType.CONVERSATION_CHANGED.value}', k.id, jsonb_build_object(
        'conversation_id', k.id, 'line_id', k.line_id, 'contact_id', k.contact_id,
        'state', k.state, 'waiting_since', k.waiting_since, 'assignee_id', k.assignee_id,
        'snoozed_until', k.snoozed_until, 'user_id', CAST(:caller_id AS text))
    FROM conversation k WHERE k.id = ANY(CAST(:ids AS uuid[]))
""")


async def emit_own_change(
    uow: UnitOfWork, *, conversation_ids: Collection[UUID], caller_id: str
) -> None:
    """Emit ``conversation.changed`` after the caller read a conversation or changed a draft in it.

    Every client gets the event, because event streams have no filter by user. So the event contains
    the caller's id. It contains neither the draft nor what the caller has read. Webhook endpoints
    do not get the event.
    """
    if conversation_ids:
        values = {"ids": list(conversation_ids), "caller_id": caller_id}
        await uow.session.execute(RECORD_OWN_CHANGE, values)


async def read_draft(
    uow: UnitOfWork, *, conversation_id: UUID, caller_id: str
) -> ConversationDraft | None:
    """Return the caller's draft in a conversation; None if the caller has no draft in it.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    statement = select(ConversationDraft).where(
        ConversationDraft.conversation_id == conversation_id,
        ConversationDraft.caller_id == caller_id,
    )
    draft: ConversationDraft | None = await uow.session.scalar(
        statement, execution_options={"populate_existing": True}
    )
    return draft


async def write_draft(
    uow: UnitOfWork, *, conversation_id: UUID, caller_id: str, body: str, now: datetime
) -> ConversationDraft:
    """Store the caller's draft in a conversation; it replaces an earlier draft.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    before = await read_draft(uow, conversation_id=conversation_id, caller_id=caller_id)
    is_changed = before is None or before.body != body
    values = {"body": body, "updated_at": now}
    statement = (
        insert(ConversationDraft)
        .values(conversation_id=conversation_id, caller_id=caller_id, **values)
        .on_conflict_do_update(index_elements=["conversation_id", "caller_id"], set_=values)
        .returning(ConversationDraft)
    )
    stored = await uow.session.scalars(statement, execution_options={"populate_existing": True})
    draft = stored.one()
    if is_changed:
        await emit_own_change(uow, conversation_ids=[conversation_id], caller_id=caller_id)
    return draft


async def delete_draft(uow: UnitOfWork, *, conversation_id: UUID, caller_id: str) -> None:
    """Delete the caller's draft in a conversation, if there is one.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    await _delete(uow, ConversationDraft.conversation_id == conversation_id, caller_id=caller_id)


async def delete_sent_draft(uow: UnitOfWork, *, line_id: UUID, phone: str, caller_id: str) -> None:
    """Delete the caller's draft of a message to a number, because the message was queued."""
    talk = select(Conversation.id).where(
        Conversation.line_id == line_id, Conversation.phone == phone
    )
    await _delete(uow, ConversationDraft.conversation_id.in_(talk), caller_id=caller_id)


async def _delete(uow: UnitOfWork, where: ColumnElement[bool], *, caller_id: str) -> None:
    statement = (
        delete(ConversationDraft)
        .where(where, ConversationDraft.caller_id == caller_id)
        .returning(ConversationDraft.conversation_id)
    )
    gone = list(await uow.session.scalars(statement))
    await emit_own_change(uow, conversation_ids=gone, caller_id=caller_id)
