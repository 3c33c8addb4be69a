"""Store which people wait for an answer, and since when.

``note_asked`` stores that a person waits after a new message or call. The SQL statement that queues
an answer ends the waiting. After any other change, such as a failed answer, the waiting is computed
again from the whole conversation.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.queries import is_blocked_sender

WAITS_FOR = timedelta(days=30)
"""A message or call needs no answer if it is stored more than this time after it happened.
Otherwise, an import of the history would fill the inbox with conversations that ended long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Facts of a received message: the contact who sent it, and the provider's conversation id."""

    contact_id: UUID | None
    openphone_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message or call that this transaction has stored, and whether it needs an answer.

    Attributes:
        at: When the message or call happened, by the provider's clock.
        needs_answer: False if the message or call needs no answer, such as an opt-out.
        campaign_id: The campaign to which the message replies; None if none.
        received: Facts to store in the conversation; None for a call, or if the conversation
            already contains the facts.
    """

    conversation_id: UUID
    at: datetime
    needs_answer: bool = True
    campaign_id: UUID | None = None
    received: Received | None = None


# Marks conversations as waiting because of new messages and calls that need an answer.
#
# - A conversation does not wait if the company has already answered outside of this service, at the
#   time of the message or call or later (`answered_at`).
# - Answers that users gave in this service do not matter here. A user could not answer the new
#   message, because it was not stored yet.
# - If the company has already answered outside of this service, and the state of the conversation
#   is `done`, the state becomes `open`. The result is the same as if the message had been stored
#   before the answer.
# - The conversation gets the campaign of its newest message, if this message replies to a campaign.
# - If a call makes the person wait, `updated_at` changes, so that the ETag of the conversation also
#   changes. In a conversation that already waits, no other value may change. Calls and received
#   messages are never in the same batch. A call has no `received_at`.
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
                   OR n.since IS NOT NULL AND n.received_at IS NULL
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

    The caller must lock the conversations. The new state of a conversation depends on these rules:

    - If no answer is needed or the sender is blocked, the state does not change.
    - If an employee has already answered outside of this service, the state ``done`` becomes
      ``open``. All other states stay the same.
    - Otherwise the state becomes ``waiting``, even if it was ``done`` or ``snoozed``.
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


ANSWERS_HERE = """(a.direction = 'outgoing' AND a.origin = 'manual'
    AND a.status NOT IN ('failed', 'undelivered')
    AND (a.scheduled_for IS NULL OR a.status <> 'queued'))"""
"""SQL condition that a message is an answer that a user sent through this service. The message is
an answer from the time at which it was queued. But if the user chose a later time, the message is
not an answer while it is queued. After that, it is an answer from the time that the user chose."""

ANSWERS_OUTSIDE = """((a.kind = 'message' AND a.direction = 'outgoing' AND a.origin = 'provider'
        AND a.status NOT IN ('failed', 'undelivered'))
    OR (a.kind = 'call' AND a.call ? 'answered_at' AND NOT a.call ? 'voicemail'))"""
"""SQL condition that a message or call is an answer that was given outside of this service: a
message from the provider's app, or an answered call."""

# The statement `DERIVE` must see the messages that another transaction stored while it had the lock
# of the conversation. So the lock is a separate statement, and `DERIVE` runs after it with a newer
# snapshot.
LOCK = text("""
    SELECT k.id FROM conversation k WHERE k.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY k.line_id, k.phone FOR NO KEY UPDATE
""")

# A user can only answer messages and calls that are already stored, or decide about them. So
# answers and decisions of users are compared with `asked_at`, by our clock. An answer outside of
# this service is compared by the provider's clock. A message may be stored late because its webhook
# was lost. If it was stored after the user's answer, the message still needs an answer.
DERIVE = text(f"""
    UPDATE conversation k
    SET answered_at = d.answered_at, waiting_since = d.since,
        state = CASE WHEN d.since IS NOT NULL AND k.state IN ('open', 'done') THEN 'waiting'
                     WHEN d.since IS NULL AND k.state = 'waiting' THEN 'open'
                     ELSE k.state END,
        updated_at = CASE WHEN k.waiting_since IS DISTINCT FROM d.since
                          THEN CAST(:now AS timestamptz) ELSE k.updated_at END
    FROM (
        SELECT c.id, h.answered_at, least(w.since, CASE
                   WHEN greatest(h.answered_at, h.replied_at) >= c.decided_at THEN NULL
                   ELSE c.decided_since END) AS since
        FROM conversation c
        CROSS JOIN LATERAL (
            SELECT max(a.occurred_at) FILTER (WHERE {ANSWERS_OUTSIDE}) AS answered_at,
                   max(greatest(a.created_at, a.scheduled_for))
                       FILTER (WHERE {ANSWERS_HERE}) AS replied_at
            FROM activity a WHERE a.conversation_id = c.id
        ) h
        CROSS JOIN LATERAL (
            SELECT min(a.occurred_at) AS since
            FROM activity a
            WHERE a.conversation_id = c.id
              AND a.asked_at > coalesce(greatest(c.decided_at, h.replied_at), '-infinity')
              AND a.occurred_at > coalesce(h.answered_at, '-infinity')
              AND NOT {is_blocked_sender(phone="c.phone")}
        ) w
        WHERE c.id = ANY(CAST(:ids AS uuid[]))
    ) d
    WHERE k.id = d.id
      AND (k.answered_at, k.waiting_since) IS DISTINCT FROM (d.answered_at, d.since)
""")


async def derive_waiting(
    session: AsyncSession, conversation_ids: Collection[UUID], *, now: datetime
) -> None:
    """Compute ``waiting_since`` and ``state`` of conversations from their messages and calls.

    If the person now waits, an open or done conversation gets the state ``waiting``. If the person
    no longer waits, a waiting conversation becomes open. A snoozed conversation stays snoozed.
    """
    if not conversation_ids:
        return
    values = {"ids": sorted(set(conversation_ids))}
    await session.execute(LOCK, values)
    await session.execute(DERIVE, {**values, "now": now})


# Who waits for an answer changes only in two cases: an answer failed, or an answer that failed
# before was delivered now.
OF_ATTEMPTS = text("""
    SELECT DISTINCT t.conversation_id
    FROM send_attempt a JOIN activity t ON t.id = a.activity_id
    JOIN conversation k ON k.id = t.conversation_id
    WHERE a.id = ANY(CAST(:ids AS uuid[])) AND a.kind = 'manual'
      AND (t.status IN ('failed', 'undelivered') OR k.waiting_since IS NOT NULL)
""")


async def derive_waiting_of_attempts(
    session: AsyncSession, attempt_ids: Collection[UUID], *, now: datetime
) -> None:
    """Compute again whether people wait for an answer, in the conversations of these attempts.

    An attempt is one try to send a message. The caller has stored the results of the attempts. For
    example, if an answer could not be sent, the person still waits.
    """
    if attempt_ids:
        found = await session.scalars(OF_ATTEMPTS, {"ids": list(attempt_ids)})
        await derive_waiting(session, list(found), now=now)


OF_MESSAGES = text("""
    SELECT DISTINCT t.conversation_id FROM activity t
    WHERE t.id = ANY(CAST(:ids AS uuid[])) AND t.origin = 'manual'
      AND t.conversation_id IS NOT NULL
""")


async def derive_waiting_of_messages(
    session: AsyncSession, activity_ids: Collection[UUID], *, now: datetime
) -> None:
    """Compute again whether the people in the conversations of these messages wait for an answer.

    The caller has withdrawn the messages or stored that they failed, so they are not answers any
    more.
    """
    if activity_ids:
        found = await session.scalars(OF_MESSAGES, {"ids": list(activity_ids)})
        await derive_waiting(session, list(found), now=now)


OF_NUMBER = text("""
    SELECT k.id FROM line l JOIN conversation k ON k.line_id = l.id AND k.phone = :phone
""")


async def derive_waiting_of_number(session: AsyncSession, *, phone: str, now: datetime) -> None:
    """Compute again, for each line, whether the person with this phone number waits for an answer.

    Call this function after the flag ``blocked_sender`` of the number was set or removed.
    """
    found = await session.scalars(OF_NUMBER, {"phone": phone})
    await derive_waiting(session, list(found), now=now)
