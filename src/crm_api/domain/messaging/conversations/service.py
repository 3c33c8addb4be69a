"""List and read conversations, messages and calls, and settle unclear messages."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.conversations import queries
from crm_api.domain.messaging.conversations.errors import (
    CallNotFoundError,
    ConversationNotFoundError,
    MessageNotFoundError,
)
from crm_api.domain.messaging.models.conversations import (
    Activity,
    ActivityKind,
    Conversation,
    Direction,
    Origin,
)
from crm_api.domain.messaging.sends import attempts, settle_by_hand
from crm_api.domain.messaging.sends.attempts import ShownAttempt
from crm_api.platform.database import UnitOfWork


async def list_conversations(
    uow: UnitOfWork,
    *,
    line_id: UUID | None,
    contact_id: UUID | None,
    phone: str | None,
    cursor: str | None,
    limit: int,
) -> Page[Conversation]:
    """List the conversations that match every filter that is not None, last active first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("conversations", line_id=line_id, contact_id=contact_id, phone=phone)
    rows = await queries.list_conversations(
        uow.session,
        line_id=line_id,
        contact_id=contact_id,
        phone=phone,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.last_activity_at, row.id))


async def list_messages(
    uow: UnitOfWork, *, conversation_id: UUID, cursor: str | None, limit: int
) -> Page[Activity]:
    """List the messages of a conversation, newest first.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        InvalidCursorError: The cursor does not belong to this list.
    """
    if await queries.get_conversation(uow.session, conversation_id) is None:
        raise ConversationNotFoundError(
            "No conversation has this id. GET /v1/conversations lists the conversations."
        )
    cursors = Cursors("messages", conversation_id=conversation_id)
    rows = await queries.list_messages(
        uow.session,
        conversation_id=conversation_id,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.occurred_at, row.id))


async def list_calls(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Activity]:
    """List the calls of all conversations, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("calls")
    after = cursors.read(cursor)
    rows = await queries.list_calls(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.occurred_at, row.id))


async def get_message(uow: UnitOfWork, message_id: UUID) -> Activity:
    """Return the message with this id.

    Raises:
        MessageNotFoundError: No message has this id.
    """
    found = await queries.get_activity(uow.session, message_id, kind=ActivityKind.MESSAGE)
    if found is None:
        raise MessageNotFoundError(
            "No message has this id. GET /v1/conversations/{id}/messages lists messages."
        )
    return found


async def settle_message(
    uow: UnitOfWork,
    message_id: UUID,
    *,
    outcome: settle_by_hand.SettledAs,
    actor: str,
    now: datetime,
) -> Activity:
    """Store a user's decision whether an unclear message was sent; return the changed message.

    Raises:
        MessageNotFoundError: No message has this id.
        NotParkedError: The message is not parked, so no decision is needed.
    """
    await get_message(uow, message_id)
    await settle_by_hand.settle_message(
        uow, message_id=message_id, outcome=outcome, actor=actor, now=now
    )
    uow.session.expire_all()
    return await get_message(uow, message_id)


async def attempts_of(
    uow: UnitOfWork, messages: Sequence[Activity]
) -> dict[UUID, list[ShownAttempt]]:
    """Return the attempts to send these messages, by message id.

    Messages that this service did not send have no attempts.
    """
    ours = [
        one
        for one in messages
        if one.direction == Direction.OUTGOING and one.origin != Origin.PROVIDER and one.phone
    ]
    return await attempts.read_attempts(
        uow.session,
        activity_ids=[one.id for one in ours],
        phones=sorted({one.phone for one in ours if one.phone}),
    )


async def get_call(uow: UnitOfWork, call_id: UUID) -> Activity:
    """Return the call with this id.

    Raises:
        CallNotFoundError: No call has this id.
    """
    found = await queries.get_activity(uow.session, call_id, kind=ActivityKind.CALL)
    if found is None:
        raise CallNotFoundError("No call has this id. GET /v1/calls lists the calls.")
    return found
