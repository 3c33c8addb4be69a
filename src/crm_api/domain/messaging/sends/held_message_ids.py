"""Free a message id of the provider if a wrong row of the database already has it.

There are two causes. (1) The report of a message arrived before the response to our request. Then
the message was stored as a foreign message, that is, a message that an employee sent in the
provider's app. (2) A look-up or a report matched the id to the wrong attempt.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import typed_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayMessage:
    """A message of this service that was stored as a message from the provider's app.

    The reason: a webhook or the provider's list of messages reported the message before the
    response to our request was recorded.

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
    """An attempt from which a message id was removed, because it had been matched by mistake."""

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
    """Delete and return our messages that were stored by mistake as messages of an employee.

    The mistake happens if the provider reports a message before it responds to our request.

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
    """Remove message ids from the attempts to which they were matched by mistake.

    A match is a guess: a look-up or a report assigned the id to an attempt with the same number,
    time and text. The provider's response to a request is certain, so it overrules a match.

    Args:
        message_ids: The provider's ids of the messages.
        attempt_ids: The attempt to which each message really belongs, in the order of
            ``message_ids``. This attempt keeps the id; any other attempt with the id loses it.

    Returns:
        The attempts that lost the id. They have the status ``parked`` now. The caller may look them
        up again (``ledger.reopen_parked``); otherwise a user must decide.
    """
    values = {"message_ids": message_ids, "attempt_ids": attempt_ids, "now": now}
    return typed_rows(UnboundAttempt, await session.execute(UNBIND, values))
