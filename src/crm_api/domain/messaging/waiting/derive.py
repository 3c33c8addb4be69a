"""Derive from all messages and calls of a conversation whether the person waits.

Two frequent changes do not need this module: ``asked.py`` records a new message or call, and the
statement that queues an answer ends the waiting. After every other change, the waiting is derived
again: after answers outside of this service, withdrawn and failed answers, and corrected facts.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.queries import is_blocked_sender

ANSWERS_HERE = """(a.direction = 'outgoing' AND a.origin = 'manual'
    AND a.status NOT IN ('failed', 'undelivered')
    AND (a.scheduled_for IS NULL OR a.status <> 'queued'))"""
"""SQL condition: a message is an answer that a user sent through this service. It counts from the
time at which it was queued. Exception: if the user chose a later time, the message does not count
while it is queued. After that, it counts from the time that the user chose."""

ANSWERS_OUTSIDE = """((a.kind = 'message' AND a.direction = 'outgoing' AND a.origin = 'provider'
        AND a.status NOT IN ('failed', 'undelivered'))
    OR (a.kind = 'call' AND a.call ? 'answered_at' AND NOT a.call ? 'voicemail'))"""
"""SQL condition: a message or call is an answer that was given outside of this service, that is, a
message from the provider's app or an answered call."""

# The derivation needs a newer snapshot than the lock: a transaction that held the lock may have
# stored a message. So the lock is a statement of its own.
LOCK = text("""
    SELECT k.id FROM conversation k WHERE k.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY k.line_id, k.phone FOR NO KEY UPDATE
""")

# A user can only answer, or decide about, messages and calls that are already stored. So answers
# and decisions of users are compared with `asked_at`, by our clock. An answer outside of this
# service is compared by the provider's clock. If a message is stored late because its webhook was
# lost, it waits if it was stored after the user's answer.
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
    """Derive ``waiting_since`` and ``state`` of conversations from their messages and calls.

    A snoozed conversation stays snoozed. If the person no longer waits, a waiting conversation
    becomes open.
    """
    if not conversation_ids:
        return
    values = {"ids": sorted(set(conversation_ids))}
    await session.execute(LOCK, values)
    await session.execute(DERIVE, {**values, "now": now})


# Only a failed answer, or an answer that failed before and is delivered now, changes who waits.
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
    """Derive who waits for an answer, after the results of these attempts were written."""
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
    """Derive who waits for an answer, after these messages were withdrawn or failed."""
    if activity_ids:
        found = await session.scalars(OF_MESSAGES, {"ids": list(activity_ids)})
        await derive_waiting(session, list(found), now=now)


OF_NUMBER = text("""
    SELECT k.id FROM line l JOIN conversation k ON k.line_id = l.id AND k.phone = :phone
""")


async def derive_waiting_of_number(session: AsyncSession, *, phone: str, now: datetime) -> None:
    """Compute again which people with a phone number wait for an answer.

    The caller has set or removed the flag ``blocked_sender`` of the number.
    """
    found = await session.scalars(OF_NUMBER, {"phone": phone})
    await derive_waiting(session, list(found), now=now)
