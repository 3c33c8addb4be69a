"""Store which messages of a conversation a caller has read."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.conversations.drafts import emit_own_change
from crm_api.domain.messaging.conversations.errors import MessageNotFoundError
from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.domain.messaging.models.timeline import Activity, ActivityKind
from crm_api.platform.database import UnitOfWork

MARK = text("""
    INSERT INTO conversation_read AS known (caller_id, conversation_id, read_until)
    VALUES (:caller_id, :conversation_id, :read_until)
    ON CONFLICT (caller_id, conversation_id) DO UPDATE
    SET read_until = excluded.read_until WHERE known.read_until < excluded.read_until
    RETURNING conversation_id
""")


async def mark_read(
    uow: UnitOfWork, *, conversation_id: UUID, caller_id: UUID, message_id: UUID | None
) -> None:
    """Store that a caller has read a conversation up to a message.

    All messages up to ``message_id`` count as read. A message that was read never becomes unread: a
    later request with an earlier message has no effect.

    Args:
        uow: The unit of work.
        conversation_id: The conversation.
        caller_id: The user or API key.
        message_id: The last message that was read; None: all messages that have arrived.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        MessageNotFoundError: The conversation has no message with this id.
    """
    conversation = await get_conversation(uow, conversation_id=conversation_id)
    until: datetime | None = conversation.last_incoming_at
    if message_id is not None:
        message = await uow.session.get(Activity, message_id)
        is_here = message is not None and message.conversation_id == conversation_id
        if message is None or not is_here or message.kind != ActivityKind.MESSAGE:
            raise MessageNotFoundError(
                "The conversation has no message with this id. GET "
                "/v1/conversations/{id}/messages lists its messages."
            )
        until = message.occurred_at
    if until is not None:
        values = {"caller_id": str(caller_id), "conversation_id": conversation_id}
        marked = await uow.session.scalars(MARK, {**values, "read_until": until})
        await emit_own_change(uow, conversation_ids=list(marked), caller_id=str(caller_id))
