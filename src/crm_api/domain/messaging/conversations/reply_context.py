"""Find the messages to which a received message may reply.

A received message may reply to the last message that the company sent in the conversation. It may
also reply to the last campaign message that the line sent to the number. One SQL statement finds
both messages and reads the settings of the away reply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.reply_reader.analysis import Context
from crm_api.domain.consent.reply_reader.reader import NO_CONTEXT
from crm_api.domain.messaging.company.office_hours import AwaySettings
from crm_api.domain.messaging.models.timeline import Activity, Origin
from crm_api.domain.messaging.sends.replies import REPLIED_TO, RepliedTo
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork

OF_THE_OFFICE = (Origin.MANUAL, Origin.PROVIDER)
"""The origins of messages that an employee wrote, in this service or in the provider's app."""


@dataclass(frozen=True, kw_only=True)
class ReplyContexts:
    """What the company sent before each received message, and the settings of the away reply.

    Attributes:
        contexts: For each received message, what the reply reader must know about the last message
            that the company sent before the received message.
        replied_to: For each received message, the campaign message to which it replies. None if no
            campaign message was sent in the 72 hours before the received message.
        away: The settings of the away reply; None if it is off.
    """

    contexts: list[Context]
    replied_to: list[RepliedTo | None]
    away: AwaySettings | None = None


LAST_OUTGOING = text(f"""
    SELECT said.position, o.origin, right(rtrim(o.body), 1) = '?' AS is_question,
           s.away_reply, s.office_hours, s.holidays, r.campaign_id, r.contact_id, r.step
    FROM unnest(CAST(:line_ids AS uuid[]), CAST(:phones AS text[]), CAST(:ats AS timestamptz[]))
        WITH ORDINALITY AS said (line_id, phone, at, position)
    LEFT JOIN conversation c ON c.line_id = said.line_id AND c.phone = said.phone
    LEFT JOIN LATERAL (
        SELECT t.origin, t.body FROM activity t
        WHERE t.conversation_id = c.id AND t.occurred_at <= said.at
          AND t.kind = 'message' AND t.direction = 'outgoing'
        ORDER BY t.occurred_at DESC, t.id DESC LIMIT 1
    ) o ON true
    LEFT JOIN LATERAL ({REPLIED_TO}
    ) r ON true
    LEFT JOIN company_settings s ON said.position = 1 AND s.away_reply IS NOT NULL
""")


async def read_reply_contexts(
    uow: UnitOfWork, messages: Sequence[tuple[UUID, str, datetime]], *, times: SendTimes
) -> ReplyContexts:
    """Return the contexts of received messages, in the order of ``messages``.

    A context describes the last message that the company sent before the received message. The
    context contains whether an employee wrote the company's message, and whether the company's
    message ends with a question mark.

    Args:
        messages: The line and the sender of each message, and when the message was received.
    """
    if not messages:
        return ReplyContexts(contexts=[], replied_to=[])
    found = await uow.session.execute(
        LAST_OUTGOING,
        {
            "line_ids": [line_id for line_id, _, _ in messages],
            "phones": [phone for _, phone, _ in messages],
            "ats": [at for _, _, at in messages],
            "skew": times.skew.total_seconds(),
        },
    )
    contexts = [NO_CONTEXT] * len(messages)
    replied_to: list[RepliedTo | None] = [None] * len(messages)
    away: AwaySettings | None = None
    for row in found:
        if row.origin is not None:
            contexts[row.position - 1] = Context(
                is_sale=row.origin in OF_THE_OFFICE, is_question=bool(row.is_question)
            )
        if row.campaign_id is not None:
            replied_to[row.position - 1] = RepliedTo(
                campaign_id=row.campaign_id, contact_id=row.contact_id, step=row.step
            )
        if row.away_reply is not None:
            away = AwaySettings(
                reply=row.away_reply, office_hours=row.office_hours, holidays=row.holidays
            )
    return ReplyContexts(contexts=contexts, replied_to=replied_to, away=away)


async def was_sent_lately(
    session: AsyncSession,
    *,
    conversation_id: UUID,
    origin: Origin,
    within: timedelta,
    now: datetime,
) -> bool:
    """Return whether the conversation has a message of this ``origin``, not older than ``within``.

    The origin of a message is what created it, for example a user or a campaign.
    """
    query = select(Activity.id).where(
        Activity.conversation_id == conversation_id,
        Activity.origin == origin.value,
        Activity.occurred_at > now - within,
    )
    return (await session.execute(query.limit(1))).first() is not None
