"""Queue automatic answers (away replies) to messages that arrive while the office is closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent.queries import is_blocked_sender
from crm_api.domain.messaging.company.office_hours import AwaySettings
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import may_get
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

ANSWERED_WITHIN = timedelta(minutes=10)
"""Maximum age of a message that gets an away reply. An older message arrived late, or the
reconciliation (the comparison with the provider's lists) found it."""
ATTENDED_FOR = timedelta(hours=1)
"""If an employee wrote in the conversation less than this time ago, no away reply is sent. The
employee is probably still working, although the office is closed."""


@dataclass(frozen=True, kw_only=True)
class UnattendedMessage:
    """A person's new message that may get an away reply (an automatic answer).

    Attributes:
        at: When the person sent the message.
    """

    line_id: UUID
    conversation_id: UUID
    contact_id: UUID | None
    phone: str
    at: datetime


# The transaction of this statement has already locked the conversations, because it stored messages
# in them. So two transactions cannot both queue an away reply to one conversation while the office
# is closed.
QUEUE_AWAY_REPLIES = text(f"""
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:conversation_ids AS uuid[]),
                CAST(:line_ids AS uuid[]), CAST(:contact_ids AS uuid[]), CAST(:phones AS text[]))
            AS w (id, conversation_id, line_id, contact_id, phone)
    ), answered AS (
        UPDATE conversation c SET away_replied_at = :now
        FROM wanted w
        WHERE c.id = w.conversation_id
          AND (c.away_replied_at IS NULL OR c.away_replied_at < CAST(:closed_since AS timestamptz))
          AND {may_get(SendKind.AWAY, phone="w.phone")}
          AND NOT {is_blocked_sender(phone="w.phone")}
          AND NOT EXISTS (SELECT 1 FROM line o WHERE o.number = w.phone)
          AND NOT EXISTS (
              SELECT 1 FROM activity t
              WHERE t.conversation_id = w.conversation_id
                AND t.occurred_at > CAST(:attended_since AS timestamptz)
                AND t.kind = 'message' AND t.direction = 'outgoing'
                AND t.origin IN ('manual', 'provider'))
        RETURNING c.id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        body, status, send_after, occurred_at, created_at, updated_at)
    SELECT w.id, 'message', 'outgoing', '{SendKind.AWAY}', w.line_id, w.conversation_id,
           w.contact_id, w.phone, :body, 'queued', :now, :now, :now, :now
    FROM wanted w JOIN answered a ON a.id = w.conversation_id
    RETURNING id
""")


async def queue_away_replies(
    uow: UnitOfWork,
    messages: Sequence[UnattendedMessage],
    *,
    away: AwaySettings | None,
    now: datetime,
) -> int:
    """Queue an away reply (automatic answer) to each message; return how many replies were queued.

    No reply is queued if:

    - the office is open, or the company has no away reply
    - the message is older than ``ANSWERED_WITHIN``
    - the number is opted out, on hold or a blocked sender, or has the flag ``do_not_contact``
    - the number is one of our lines
    - the conversation has had an away reply since the office closed
    - an employee wrote less than ``ATTENDED_FOR`` ago

    After an away reply, the conversation still waits for an answer.

    Args:
        messages: New messages, whose conversations this transaction has locked.
        now: The database's time of this transaction.
    """
    fresh = {one.conversation_id: one for one in messages if now - one.at <= ANSWERED_WITHIN}
    closed_since = away.closed_since(now) if away is not None and fresh else None
    if away is None or closed_since is None:
        return 0
    listed = list(fresh.values())
    queued = await uow.session.execute(
        QUEUE_AWAY_REPLIES,
        {
            "ids": [new_id() for _ in listed],
            "conversation_ids": list(fresh),
            "line_ids": [one.line_id for one in listed],
            "contact_ids": [one.contact_id for one in listed],
            "phones": [one.phone for one in listed],
            "closed_since": closed_since,
            "attended_since": now - ATTENDED_FOR,
            "body": away.reply,
            "now": now,
        },
    )
    count = len(queued.all())
    if count:
        uow.after_commit(Job(name=JobName.SEND_MESSAGES))
    return count
