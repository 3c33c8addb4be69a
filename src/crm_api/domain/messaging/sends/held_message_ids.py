"""Remove a message id of the provider from wrong rows, so that the right attempt can get the id.

If the id belongs to a message that was stored by mistake as sent in the provider's app, the message
is deleted. If the id was matched by mistake to another attempt, that attempt loses the id.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import typed_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayMessage:
    """A message of this service that was stored as if an employee had sent it in OpenPhone.

    This happens if the provider's report of the message arrives before the response to our request.

    Attributes:
        updated_at: When the message got its status, by the provider's clock.
    """

    openphone_id: str
    conversation_id: UUID | None
    status: str
    rank: int
    error_code: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnboundAttempt:
    """An attempt from which a wrong message id of the provider was removed."""

    id: UUID
    membership_id: UUID | None


TAKE_STRAYS = text("""
    DELETE FROM activity t
    USING unnest(CAST(:message_ids AS text[])) AS x (id)
    JOIN activity_key k ON k.openphone_id = x.id
    WHERE t.id = k.activity_id AND t.origin = 'provider'
    RETURNING t.openphone_id, t.conversation_id, t.status, t.rank, t.error_code, t.updated_at
""")


async def take_strays(session: AsyncSession, *, message_ids: list[str]) -> dict[str, StrayMessage]:
    """Delete and return our messages that were stored by mistake as messages of an employee.

    The mistake happens if the provider reports a message before it responds to our request.

    Returns:
        The deleted messages, by the provider's id.
    """
    found = await session.execute(TAKE_STRAYS, {"message_ids": message_ids})
    strays = typed_rows(StrayMessage, found)
    return {stray.openphone_id: stray for stray in strays}


# An attempt from which the message id is removed gets the status `parked` (unclear, and waits for a
# user). This statement cannot set the status `unknown`: an unknown attempt counts as open, and a
# unique index allows only one open attempt for each phone number. The number usually has an open
# attempt already. It is the attempt whose response has just arrived with the message id. After this
# response is recorded, `ledger.reopen_parked` can change `parked` to `unknown`.
UNBIND = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'parked', provider_message_id = NULL, is_matched = false,
            accepted_at = NULL, reported_at = NULL, error_code = 'match_corrected',
            updated_at = :now
        FROM unnest(CAST(:message_ids AS text[]), CAST(:attempt_ids AS uuid[]))
            AS x (id, attempt_id)
        WHERE a.provider_message_id = x.id AND a.id <> x.attempt_id AND a.is_matched
        RETURNING a.id, a.membership_id, a.activity_id, x.id AS message_id
    ), shown AS (
        UPDATE activity t SET openphone_id = NULL, status = 'unknown', rank = 2, updated_at = :now
        FROM freed f WHERE t.id = f.activity_id AND t.openphone_id = f.message_id
    )
    SELECT id, membership_id FROM freed
""")


async def unbind_matched_messages(
    session: AsyncSession, *, message_ids: list[str], attempt_ids: list[UUID], now: datetime
) -> list[UnboundAttempt]:
    """Remove message ids of the provider from attempts to which they were matched by mistake.

    Args:
        message_ids: The message ids.
        attempt_ids: For each message id, the attempt whose response contains the id. A match of the
            id to another attempt is a mistake.

    Returns:
        The attempts that lost an id, now ``parked``. ``ledger.reopen_parked`` can start new
        look-ups.
    """
    values = {"message_ids": message_ids, "attempt_ids": attempt_ids, "now": now}
    return typed_rows(UnboundAttempt, await session.execute(UNBIND, values))
