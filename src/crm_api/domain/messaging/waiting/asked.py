"""Note messages and calls that need an answer: their conversations wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.blocked_senders import is_blocked_sender

WAITS_FOR = timedelta(days=30)
"""A message or call that is stored later than this after it happened does not wait. Otherwise an
import of the history would fill the inbox with conversations that ended long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message or call that this transaction has stored, with ``asked_at`` if it needs an answer.

    Attributes:
        at: When it happened, by the provider's clock.
        needs_answer: False if it does not wait after all: an opt-out, for example.
        campaign_id: The campaign that it replies to; None if there is none.
    """

    activity_id: UUID
    conversation_id: UUID
    at: datetime
    needs_answer: bool = True
    campaign_id: UUID | None = None


_HEARD = """heard AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:conversation_ids AS uuid[]), CAST(:ats AS timestamptz[]),
            CAST(:asks AS boolean[]), CAST(:campaign_ids AS uuid[]))
            AS x (id, conversation_id, at, asks, campaign_id)
    )"""

_LINKED = """linked AS (
        UPDATE activity a
        SET campaign_id = h.campaign_id
        FROM heard h WHERE a.id = h.id AND h.campaign_id IS NOT NULL
    )"""

# What happened before an answer outside of this service does not wait. An answer that was given
# here cannot be an answer to something that was not stored yet. In order, the message would have
# opened the conversation before that answer, so it opens it now.
_WAIT = f"""news AS (
        SELECT c.id, bool_or(h.asks) AND NOT {is_blocked_sender(phone="c.phone")} AS asks,
               min(h.at) FILTER (
                   WHERE h.asks AND (c.answered_at >= h.at) IS NOT TRUE
                     AND NOT {is_blocked_sender(phone="c.phone")}) AS since,
               (array_agg(h.campaign_id) FILTER (
                   WHERE h.campaign_id IS NOT NULL AND h.at >= c.last_incoming_at
               ))[1] AS campaign_id
        FROM heard h JOIN conversation c ON c.id = h.conversation_id
        GROUP BY c.id, c.phone
    )
    UPDATE conversation k
    SET state = CASE WHEN n.since IS NOT NULL THEN 'waiting'
                     WHEN n.asks AND k.state = 'done' THEN 'open' ELSE k.state END,
        waiting_since = least(k.waiting_since, n.since),
        snoozed_until = CASE WHEN n.since IS NULL THEN k.snoozed_until END,
        campaign_id = coalesce(n.campaign_id, k.campaign_id), updated_at = :now
    FROM news n
    WHERE k.id = n.id
      AND (k.state <> 'waiting' AND n.since IS NOT NULL OR n.since < k.waiting_since
           OR n.asks AND k.state = 'done'
           OR n.campaign_id IS NOT NULL AND n.campaign_id IS DISTINCT FROM k.campaign_id)"""

NOTE_ASKED = text(f"WITH {_HEARD}, {_WAIT}")
LINK_AND_NOTE_ASKED = text(f"WITH {_HEARD}, {_LINKED}, {_WAIT}")


async def note_asked(session: AsyncSession, asked: Sequence[Asked], *, now: datetime) -> None:
    """Let the conversations of new messages and calls wait, with one statement.

    The state of each becomes ``waiting``, also if it was done or snoozed. What an answer outside of
    this service followed does not wait, and neither does what a blocked sender sends. Links replies
    to their campaigns.

    The caller has locked the conversations.
    """
    if not asked:
        return
    values = {
        "ids": [one.activity_id for one in asked],
        "conversation_ids": [one.conversation_id for one in asked],
        "ats": [one.at for one in asked],
        "asks": [one.needs_answer for one in asked],
        "campaign_ids": [one.campaign_id for one in asked],
        "now": now,
    }
    is_linking = any(one.campaign_id is not None for one in asked)
    await session.execute(LINK_AND_NOTE_ASKED if is_linking else NOTE_ASKED, values)
