"""Read the attempts of messages as conversations show them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# An attempt that never called is left out: it did not reach the provider.
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
    """What is known about one attempt to send a message."""

    SENDING = "sending"
    """The call is running."""
    UNKNOWN = "unknown"
    """The answer was lost. The message is looked up at the provider, or a person decides."""
    SENT = "sent"
    """The provider accepted it."""
    DELIVERED = "delivered"
    """The provider accepted and delivered it."""
    FAILED = "failed"
    """The provider accepted it and reported it failed or undelivered."""
    REFUSED = "refused"
    """The provider refused this message."""
    NOT_SENT = "not_sent"
    """It certainly sent nothing: throttled, not connected, too late, or settled by a person."""
    NOT_FOUND = "not_found"
    """The provider does not list it after two look-ups, so it was not accepted."""


class ShownAttempt(NamedTuple):
    """One attempt that called the provider for a message.

    Attributes:
        at: When the call began.
    """

    at: datetime
    outcome: TryOutcome
    error_code: str | None


async def read_attempts(
    session: AsyncSession, *, activity_ids: Sequence[UUID], phones: Sequence[str]
) -> dict[UUID, list[ShownAttempt]]:
    """Return the attempts that called the provider, by message, in the order of their calls.

    Args:
        phones: The numbers of the people in these messages; attempts are found by number.
    """
    if not activity_ids:
        return {}
    values = {"activity_ids": list(activity_ids), "phones": list(phones)}
    found: dict[UUID, list[ShownAttempt]] = {}
    for row in await session.execute(SHOWN_ATTEMPTS, values):
        one = ShownAttempt(row.called_at, TryOutcome(row.outcome), row.error_code)
        found.setdefault(row.activity_id, []).append(one)
    return found
