"""Withdraw a message that waits to be sent, because a user decided so."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.waiting.derive import derive_waiting
from crm_api.platform.database import UnitOfWork

WITHDRAWN = "withdrawn"
"""The error code of a message that was withdrawn before it was sent."""

# The order of locks requires the lock of the conversation before the locks of its messages.
LOCK_CONVERSATION = text("""
    SELECT k.id FROM activity t JOIN conversation k ON k.id = t.conversation_id
    WHERE t.id = :message_id AND t.origin = 'manual' FOR NO KEY UPDATE OF k
""")

# This one statement decides the race with a claim. A claim that committed has set the status
# `sending`, and a claim skips a row that this statement has locked. An attempt of a queued message
# certainly sent nothing, so nothing of the message is under way. The status is not compared with
# `=`, because the planner would then choose the partial index of all queued messages.
WITHDRAW = text(f"""
    UPDATE activity t
    SET status = 'failed', error_code = '{WITHDRAWN}', send_after = NULL, updated_at = :now
    WHERE t.id = :message_id AND t.kind = 'message' AND t.origin = 'manual'
      AND t.status IS NOT DISTINCT FROM 'queued'
    RETURNING t.id
""")


async def withdraw_message(uow: UnitOfWork, *, message_id: UUID, now: datetime) -> bool:
    """Withdraw a user's message that still waits. It stays in the timeline as ``failed``.

    If the person waited for an answer before the message was queued, the person waits again.

    Returns:
        False if no such message waits. Then nothing changes.
    """
    talks = list(await uow.session.scalars(LOCK_CONVERSATION, {"message_id": message_id}))
    found = await uow.session.execute(WITHDRAW, {"message_id": message_id, "now": now})
    if found.one_or_none() is None:
        return False
    await derive_waiting(uow.session, talks, now=now)
    return True
