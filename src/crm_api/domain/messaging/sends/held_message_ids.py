"""Free message ids of the provider that another row holds.

The report of a message may arrive before the response to its request: then the message was stored
as foreign. A look-up may have matched a message to the wrong attempt.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import typed_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayMessage:
    """A message of ours that was stored as foreign (not ours), because its report came early.

    The report came from a webhook or a list before the response to our request was recorded.

    Attributes:
        updated_at: When the reported status was reached, by the provider's clock.
    """

    openphone_id: str
    conversation_id: UUID | None
    status: str
    rank: int
    error_code: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnboundAttempt:
    """An attempt that lost its matched message, because the match was wrong."""

    id: UUID
    membership_id: UUID | None


TAKE_STRAYS = text("""
    DELETE FROM activity t
    USING unnest(CAST(:message_ids AS text[]), CAST(:attempt_ids AS uuid[])) AS x (id, attempt_id)
    JOIN activity_key k ON k.openphone_id = x.id
    WHERE t.id = k.activity_id AND t.origin = 'provider'
    RETURNING t.openphone_id, t.conversation_id, t.status, t.rank, t.error_code, t.updated_at
""")


async def take_strays(
    session: AsyncSession, *, message_ids: list[str], attempt_ids: list[UUID]
) -> dict[str, StrayMessage]:
    """Delete and return the messages with these ids that were stored as foreign (not ours).

    Returns:
        The deleted messages, by the provider's id.
    """
    values = {"message_ids": message_ids, "attempt_ids": attempt_ids}
    strays = typed_rows(StrayMessage, await session.execute(TAKE_STRAYS, values))
    return {stray.openphone_id: stray for stray in strays}


# The attempt becomes `parked` and not `unknown`, because `unknown` is open and a number can have
# only one open attempt. That is usually the attempt whose answer just arrived.
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
    """Remove these message ids from other attempts if the ids were only matched to them.

    Args:
        attempt_ids: The attempt to which each message belongs.

    Returns:
        The attempts that lost their message. They are ``parked`` now: a person must decide.
    """
    values = {"message_ids": message_ids, "attempt_ids": attempt_ids, "now": now}
    return typed_rows(UnboundAttempt, await session.execute(UNBIND, values))
