"""Read the attempts to send messages, as the API shows them with each message."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# An attempt that ended before its request began is left out, because it did not reach the provider.
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
        UNKNOWN: No clear response arrived. The service looks the message up at the provider, or a
            user decides.
        SENT: The provider accepted the message.
        DELIVERED: The provider accepted the message and reported it delivered.
        FAILED: The provider accepted the message and then reported it failed or undelivered.
        REFUSED: The provider refused the message.
        NOT_SENT: The message was certainly not sent in this attempt. Possible reasons: the provider
            was unreachable, the provider asked to wait, it was too late to send the message, or a
            user decided that the message was not sent.
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


async def read_attempts(
    session: AsyncSession, *, activity_ids: Sequence[UUID], phones: Sequence[str]
) -> dict[UUID, list[ShownAttempt]]:
    """Return a list of attempts for each message, by message id; the earliest attempt comes first.

    An attempt is included only if its request to the provider has begun.

    Args:
        phones: The phone numbers to which these messages go. The database index finds attempts by
            number.
    """
    if not activity_ids:
        return {}
    values = {"activity_ids": list(activity_ids), "phones": list(phones)}
    found: dict[UUID, list[ShownAttempt]] = {}
    for row in await session.execute(SHOWN_ATTEMPTS, values):
        one = ShownAttempt(row.called_at, TryOutcome(row.outcome), row.error_code)
        found.setdefault(row.activity_id, []).append(one)
    return found
