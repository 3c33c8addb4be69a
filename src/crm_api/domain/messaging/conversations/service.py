"""List and read messages and calls, find conversations, and settle unclear messages.

To settle an unclear message is to decide whether it was sent.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Select, literal_column, select, text

from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.messaging.conversations.errors import (
    CallNotFoundError,
    ConversationNotFoundError,
    MessageNotFoundError,
)
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.timeline import Activity, ActivityKind, Direction, Origin
from crm_api.domain.messaging.sends import settle
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
    # The value 'call' is part of the SQL text and not a bind parameter. So the planner can use the
    # partial index that contains only calls.
    query = select(Activity).where(literal_column("activity.kind = 'call'"))
    return await _newest_page(uow, query, Cursors("calls"), cursor=cursor, limit=limit)


async def _newest_page(
    uow: UnitOfWork, query: Select[Activity], cursors: Cursors, *, cursor: str | None, limit: int
) -> Page[Activity]:
    return await read_newest(
        uow.session,
        query,
        Activity.occurred_at,
        Activity.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


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
    """Store what a user decided about an unclear message; return the changed message.

    Raises:
        MessageNotFoundError: No message has this id.
        NotParkedError: No attempt to send this message waits for a user's decision.
    """
    await get_message(uow, message_id)
    await settle.settle_message(uow, message_id=message_id, outcome=outcome, actor=actor, now=now)
    uow.session.expire_all()
    return await get_message(uow, message_id)


# An attempt that ended before its request to the provider began is not selected, because it did not
# reach the provider.
SHOWN_ATTEMPTS = text("""
    SELECT a.activity_id, a.called_at, a.error_code,
           CASE a.status WHEN 'calling' THEN 'sending' WHEN 'parked' THEN 'unknown'
               WHEN 'released' THEN 'not_sent' ELSE a.status END AS outcome
    FROM send_attempt a
    WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.called_at IS NOT NULL
      AND a.activity_id = ANY(CAST(:activity_ids AS uuid[]))
    ORDER BY a.called_at, a.id
""")


class TryOutcome(StrEnum):
    """The result of one attempt to send a message, as far as it is known.

    Attributes:
        SENDING: The request to the provider is running.
        UNKNOWN: No clear response arrived. A look-up at the provider or a user decides.
        SENT: The provider accepted the message.
        DELIVERED: The provider reported the message delivered.
        FAILED: The provider accepted the message, then reported it failed or undelivered.
        REFUSED: The provider refused the message.
        NOT_SENT: The message was certainly not sent in this attempt.
        NOT_FOUND: Two look-ups did not find the message at the provider, so it counts as not sent.
    """

    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    NOT_FOUND = "not_found"


class ShownAttempt(NamedTuple):
    """One attempt to send a message, for which a request to the provider was begun.

    Attributes:
        at: When the request began.
    """

    at: datetime
    outcome: TryOutcome
    error_code: str | None


async def attempts_of(
    uow: UnitOfWork, messages: Sequence[Activity]
) -> dict[UUID, list[ShownAttempt]]:
    """Return the attempts to send these messages, by message id; the earliest attempt comes first.

    An attempt is included only if its request to the provider has begun. Messages that this service
    did not send have no attempts.
    """
    ours = [
        one
        for one in messages
        if one.direction == Direction.OUTGOING and one.origin != Origin.PROVIDER and one.phone
    ]
    if not ours:
        return {}
    # The query also compares phone numbers, because the index of attempts begins with the phone
    # number.
    phones = sorted({one.phone for one in ours if one.phone})
    values = {"activity_ids": [one.id for one in ours], "phones": phones}
    found: dict[UUID, list[ShownAttempt]] = {}
    for row in await uow.session.execute(SHOWN_ATTEMPTS, values):
        attempt = ShownAttempt(row.called_at, TryOutcome(row.outcome), row.error_code)
        found.setdefault(row.activity_id, []).append(attempt)
    return found


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
