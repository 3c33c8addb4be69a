"""Find out whether somebody else has just answered the message that a user wants to answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.conversations.errors import AnsweredMeanwhileError
from crm_api.platform.database import UnitOfWork, typed_row

MEANWHILE = timedelta(minutes=1)
"""An answer of somebody else is reported only if this service learned of it at most this long ago.
The user has already seen an older answer on the screen."""
LATEST_NEWS = timedelta(days=1)
"""An answer that was sent longer ago than this is ignored, even if this service receives it only
now. The event of an answer in the provider's app may arrive late, or the reconciliation finds the
answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherAnswer:
    """The answer that somebody else has written.

    Attributes:
        sent_by_id: The user or API key; None if the message was sent in the provider's app.
        at: When the message was sent; for a message that still waits, when it was written.
    """

    id: UUID
    body: str | None
    sent_by_id: UUID | None
    sent_by_name: str | None
    at: datetime


# A message counts as an answer if it is later than the newest message of the person. For answers
# that were written in this service, the times of storing are compared, because a user can only
# answer a stored message. For answers in the provider's app, the times of the provider's clock are
# compared. A message that failed or was withdrawn is not an answer.
FIND_OTHER_ANSWER = text("""
    SELECT a.id, a.body, a.sent_by_id, a.sent_by_name, a.occurred_at AS at
    FROM conversation k
    CROSS JOIN LATERAL (
        SELECT i.occurred_at, i.created_at FROM activity i
        WHERE i.conversation_id = k.id AND i.kind = 'message' AND i.direction = 'incoming'
        ORDER BY i.occurred_at DESC, i.id DESC LIMIT 1
    ) heard
    CROSS JOIN LATERAL (
        SELECT o.* FROM activity o
        WHERE o.conversation_id = k.id AND o.kind = 'message' AND o.direction = 'outgoing'
          AND o.occurred_at > CAST(:oldest AS timestamptz) AND o.status <> 'failed'
          AND greatest(o.occurred_at, o.created_at) > CAST(:since AS timestamptz)
          AND CASE o.origin WHEN 'manual' THEN o.created_at >= heard.created_at
                   AND o.sent_by_id IS DISTINCT FROM CAST(:sender_id AS uuid)
              WHEN 'provider' THEN o.occurred_at >= heard.occurred_at
              ELSE false END
        ORDER BY o.occurred_at DESC, o.id DESC LIMIT 1
    ) a
    WHERE k.line_id = :line_id AND k.phone = :phone
""")


async def refuse_second_answer(
    uow: UnitOfWork, *, line_id: UUID, phone: str, sender_id: UUID, may_read: bool, now: datetime
) -> None:
    """Raise an error if somebody else answered the person's last message in the last minute.

    An answer in the provider's app counts from the time at which this service received it. The
    caller must lock decisions about the number. So if two users answer at the same moment, the
    second request waits until the first answer is stored, and then finds it.

    Args:
        may_read: False if the sender may not see the messages of others; then the error does not
            contain the answer's text.

    Raises:
        AnsweredMeanwhileError: Somebody else has answered in the last minute.
    """
    found = await uow.session.execute(
        FIND_OTHER_ANSWER,
        {
            "line_id": line_id,
            "phone": phone,
            "sender_id": sender_id,
            "since": now - MEANWHILE,
            "oldest": now - LATEST_NEWS,
        },
    )
    row = found.one_or_none()
    if row is not None:
        answer = typed_row(OtherAnswer, row)
        raise AnsweredMeanwhileError(
            message_id=answer.id,
            body=answer.body if may_read else None,
            by=None
            if answer.sent_by_id is None
            else {"id": str(answer.sent_by_id), "name": answer.sent_by_name or ""},
            at=answer.at,
        )
