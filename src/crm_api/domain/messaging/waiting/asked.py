"""Record messages and calls that need an answer, so that their conversations wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.queries import is_blocked_sender

WAITS_FOR = timedelta(days=30)
"""If a message or call is stored later than this after it happened, it needs no answer. Otherwise
an import of the history would fill the inbox with conversations that ended long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The sender of a received message, and the provider's id of its conversation, if known."""

    contact_id: UUID | None
    openphone_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message or call that this transaction has stored, and whether it needs an answer.

    Attributes:
        at: When the message or call happened, by the provider's clock.
        needs_answer: False if the message or call needs no answer, for example because it is an
            opt-out.
        campaign_id: The campaign to which the message replies; None if there is none.
        received: Facts of a received message that must still be stored in its conversation. None if
            they are already stored, and for calls.
    """

    conversation_id: UUID
    at: datetime
    needs_answer: bool = True
    campaign_id: UUID | None = None
    received: Received | None = None


# A message or call does not wait if a later answer was given outside of this service. Answers in
# this service are not compared, because a user cannot answer a message that is not stored yet. If a
# message is already answered and the conversation is done, the conversation becomes open, as if the
# message had arrived before the answer. The newest message decides to which campaign the
# conversation belongs.
NOTE_ASKED = text(f"""
    WITH heard AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:conversation_ids AS uuid[]), CAST(:ats AS timestamptz[]),
            CAST(:asks AS boolean[]), CAST(:campaign_ids AS uuid[]),
            CAST(:received AS timestamptz[]), CAST(:contact_ids AS uuid[]),
            CAST(:openphone_ids AS text[]))
            AS x (conversation_id, at, asks, campaign_id, received_at, contact_id, openphone_id)
    ), news AS (
        SELECT c.id, c.state, c.waiting_since, c.campaign_id AS known_campaign_id,
               bool_or(h.asks) AND NOT {is_blocked_sender(phone="c.phone")} AS asks,
               min(h.at) FILTER (
                   WHERE h.asks AND (c.answered_at >= h.at) IS NOT TRUE
                     AND NOT {is_blocked_sender(phone="c.phone")}) AS since,
               CASE WHEN max(h.at) >= c.last_incoming_at OR c.last_incoming_at IS NULL
                    THEN (array_agg(h.campaign_id ORDER BY h.at DESC, h.campaign_id))[1]
               END AS campaign_id,
               max(h.received_at) AS received_at,
               (array_agg(h.contact_id) FILTER (WHERE h.contact_id IS NOT NULL))[1] AS contact_id,
               (array_agg(h.openphone_id) FILTER (
                   WHERE h.openphone_id IS NOT NULL))[1] AS openphone_id
        FROM heard h JOIN conversation c ON c.id = h.conversation_id
        GROUP BY c.id
    ), changes AS (
        SELECT n.*, n.state <> 'waiting' AND n.since IS NOT NULL OR n.since < n.waiting_since
                   OR n.asks AND n.state = 'done'
                   OR n.campaign_id IS NOT NULL
                      AND n.campaign_id IS DISTINCT FROM n.known_campaign_id AS is_work
        FROM news n
    )
    UPDATE conversation k
    SET state = CASE WHEN n.since IS NOT NULL THEN 'waiting'
                     WHEN n.asks AND k.state = 'done' THEN 'open' ELSE k.state END,
        waiting_since = least(k.waiting_since, n.since),
        snoozed_until = CASE WHEN n.since IS NULL THEN k.snoozed_until END,
        campaign_id = coalesce(n.campaign_id, k.campaign_id),
        contact_id = coalesce(k.contact_id, n.contact_id),
        openphone_id = coalesce(k.openphone_id, n.openphone_id),
        last_activity_at = greatest(k.last_activity_at, n.received_at),
        last_incoming_at = greatest(k.last_incoming_at, n.received_at),
        updated_at = CASE WHEN n.is_work THEN CAST(:now AS timestamptz) ELSE k.updated_at END
    FROM changes n
    WHERE k.id = n.id
      AND (n.is_work OR (k.last_incoming_at >= n.received_at) IS FALSE
           OR k.last_incoming_at IS NULL AND n.received_at IS NOT NULL
           OR k.contact_id IS NULL AND n.contact_id IS NOT NULL
           OR k.openphone_id IS NULL AND n.openphone_id IS NOT NULL)
""")


async def note_asked(session: AsyncSession, asked: Sequence[Asked], *, now: datetime) -> None:
    """Mark the conversations of new messages and calls as waiting for an answer.

    The state of each conversation becomes ``waiting``, even if it was ``done`` or ``snoozed``. A
    message or call does not have this effect in three cases:

    - It needs no answer.
    - The sender is blocked.
    - A later answer was given outside of this service. Then a conversation in the state ``done``
      becomes ``open``, and other states do not change.

    The function also stores the times, contacts and provider ids of received messages in their
    conversations. The caller must lock the conversations.
    """
    if not asked:
        return
    received = [one.received for one in asked]
    values = {
        "conversation_ids": [one.conversation_id for one in asked],
        "ats": [one.at for one in asked],
        "asks": [one.needs_answer for one in asked],
        "campaign_ids": [one.campaign_id for one in asked],
        "received": [None if one.received is None else one.at for one in asked],
        "contact_ids": [one and one.contact_id for one in received],
        "openphone_ids": [one and one.openphone_id for one in received],
        "now": now,
    }
    await session.execute(NOTE_ASKED, values)
