"""List and read messages and calls, find conversations, and settle unclear messages.

To settle an unclear message is to decide whether it was sent.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, literal_column, select, tuple_

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.conversations.errors import (
    CallNotFoundError,
    ConversationNotFoundError,
    MessageNotFoundError,
)
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.timeline import Activity, ActivityKind, Direction, Origin
from crm_api.domain.messaging.sends import attempts, settle
from crm_api.domain.messaging.sends.attempts import ShownAttempt
from crm_api.platform.database import UnitOfWork, get_or_raise


async def get_conversation(uow: UnitOfWork, *, conversation_id: UUID) -> Conversation:
    """Return the conversation with this id.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    return await get_or_raise(uow.session, Conversation, conversation_id, ConversationNotFoundError)


async def list_messages(
    uow: UnitOfWork, *, conversation_id: UUID, cursor: str | None, limit: int
) -> Page[Activity]:
    """List the messages of a conversation, newest first.

    Raises:
        ConversationNotFoundError: No conversation has this id.
        InvalidCursorError: The cursor does not belong to this list.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    cursors = Cursors("messages", conversation_id=conversation_id)
    query = select(Activity).where(
        Activity.conversation_id == conversation_id, Activity.kind == ActivityKind.MESSAGE.value
    )
    return await _newest_page(uow, query, cursors, cursor=cursor, limit=limit)


async def list_calls(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Activity]:
    """List the calls of all conversations, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    # The constant in the SQL text lets the planner use the partial index of calls.
    query = select(Activity).where(literal_column("activity.kind = 'call'"))
    return await _newest_page(uow, query, Cursors("calls"), cursor=cursor, limit=limit)


async def _newest_page(
    uow: UnitOfWork, query: Select[Activity], cursors: Cursors, *, cursor: str | None, limit: int
) -> Page[Activity]:
    after = cursors.read(cursor)
    if after is not None:
        query = query.where(tuple_(Activity.occurred_at, Activity.id) < after)
    query = query.order_by(Activity.occurred_at.desc(), Activity.id.desc()).limit(limit + 1)
    rows = list(await uow.session.scalars(query))
    return cursors.page(rows, limit=limit, position=lambda row: (row.occurred_at, row.id))


async def get_message(uow: UnitOfWork, message_id: UUID) -> Activity:
    """Return the message with this id.

    Raises:
        MessageNotFoundError: No message has this id.
    """
    found = await _find_activity(uow, message_id, kind=ActivityKind.MESSAGE)
    if found is None:
        raise MessageNotFoundError
    return found


async def settle_message(
    uow: UnitOfWork,
    message_id: UUID,
    *,
    outcome: settle.SettledAs,
    actor: str,
    now: datetime,
) -> Activity:
    """Settle an unclear message as a user decided; return the changed message.

    The decision is, for example, that the message was sent, or that it was not.

    Raises:
        MessageNotFoundError: No message has this id.
        NotParkedError: No attempt to send this message waits for a user's decision.
    """
    await get_message(uow, message_id)
    await settle.settle_message(uow, message_id=message_id, outcome=outcome, actor=actor, now=now)
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
    found = await _find_activity(uow, call_id, kind=ActivityKind.CALL)
    if found is None:
        raise CallNotFoundError
    return found


async def _find_activity(
    uow: UnitOfWork, activity_id: UUID, *, kind: ActivityKind
) -> Activity | None:
    query = select(Activity).where(Activity.id == activity_id, Activity.kind == kind.value)
    return (await uow.session.scalars(query)).one_or_none()
