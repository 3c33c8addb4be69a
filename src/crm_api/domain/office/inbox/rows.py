"""Read what the inbox shows of a conversation: names, last message, unread messages, flags."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.conversations.service import get_conversation
from crm_api.platform.database import UnitOfWork, typed_rows

PREVIEW = 160
"""The number of characters of the last message that the inbox shows."""
MOST_UNREAD = 1_000
"""The largest number of unread messages that is counted for one conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """A conversation as the inbox shows it to one caller."""

    id: UUID
    line_id: UUID
    phone: str
    contact_id: UUID | None
    is_contact_known: bool
    first_name: str | None
    last_name: str | None
    company: str | None
    state: str
    waiting_since: datetime | None
    snoozed_until: datetime | None
    assignee_id: UUID | None
    assignee_name: str | None
    campaign_id: UUID | None
    campaign_name: str | None
    unread_count: int
    has_draft: bool
    flags: list[str]
    message_id: UUID | None
    message_direction: str | None
    message_preview: str | None
    message_at: datetime | None
    message_status: str | None
    last_activity_at: datetime
    last_outgoing_at: datetime | None
    last_incoming_at: datetime | None
    created_at: datetime
    updated_at: datetime


ME = """me AS MATERIALIZED (
        SELECT coalesce((SELECT u.created_at FROM app_user u WHERE u.id = CAST(:caller_id AS uuid)),
                        (SELECT a.created_at FROM api_key a WHERE a.id = CAST(:caller_id AS uuid)),
                        '-infinity') AS since
    )"""
"""SQL of the common table expression ``me``: the instant at which the calling user or API key was
created. Messages from before this instant are treated as read."""

READ_UNTIL = """greatest((
    SELECT r.read_until FROM conversation_read r
    WHERE r.caller_id = CAST(:caller_id AS text) AND r.conversation_id = k.id),
    (SELECT since FROM me))"""
IS_UNREAD = f"(k.last_incoming_at > {READ_UNTIL}) IS TRUE"

# The unread messages are read and counted only for conversations that have unread messages.
SHOWN = f"""
    SELECT k.id, k.line_id, k.phone, k.contact_id, c.id IS NOT NULL AS is_contact_known,
           c.first_name, c.last_name, c.company, k.state, k.waiting_since, k.snoozed_until,
           k.assignee_id, u.name AS assignee_name, k.campaign_id, g.name AS campaign_name,
           CASE WHEN (k.last_incoming_at > r.until) IS TRUE
                THEN greatest(1, n.unread) ELSE 0 END AS unread_count,
           EXISTS (SELECT FROM conversation_draft d WHERE d.conversation_id = k.id
                   AND d.caller_id = CAST(:caller_id AS text)) AS has_draft,
           ARRAY(SELECT f.flag_type FROM contact_flag f
                 WHERE f.phone = k.phone
                   AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))
                 ORDER BY f.flag_type) AS flags,
           m.id AS message_id, m.direction AS message_direction,
           left(m.body, {PREVIEW}) AS message_preview, m.occurred_at AS message_at,
           m.status AS message_status, k.last_activity_at, k.last_outgoing_at, k.last_incoming_at,
           k.created_at, greatest(k.updated_at, k.last_activity_at, k.created_at) AS updated_at
    FROM page p JOIN conversation k ON k.id = p.id
    LEFT JOIN contact c ON c.id = k.contact_id AND c.deleted_at IS NULL
    LEFT JOIN app_user u ON u.id = k.assignee_id
    LEFT JOIN campaign g ON g.id = k.campaign_id
    CROSS JOIN LATERAL (SELECT {READ_UNTIL} AS until OFFSET 0) r
    LEFT JOIN LATERAL (
        SELECT a.id, a.direction, a.body, a.occurred_at, a.status FROM activity a
        WHERE a.conversation_id = k.id AND a.kind = 'message'
        ORDER BY a.occurred_at DESC, a.id DESC LIMIT 1
    ) m ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS unread FROM (
            SELECT FROM activity a
            WHERE k.last_incoming_at > r.until AND a.conversation_id = k.id
              AND a.occurred_at > r.until AND a.kind = 'message' AND a.direction = 'incoming'
            LIMIT {MOST_UNREAD}
        ) x
    ) n ON true
"""


async def read_rows(
    uow: UnitOfWork, page: str, values: Mapping[str, Any], *, caller_id: UUID, now: datetime
) -> list[InboxRow]:
    """Return the rows of the inbox for one page of conversations.

    Args:
        page: An SQL query that selects the conversations. Its column ``id`` is the conversation's
            id. Its column ``place`` gives the order.
        values: The values of the query's parameters.
        caller_id: The user or API key for whom the conversations are shown.
    """
    statement = text(f"WITH {ME}, page AS MATERIALIZED ({page}) {SHOWN} ORDER BY p.place")
    found = await uow.session.execute(
        statement, {**values, "caller_id": str(caller_id), "now": now}
    )
    return typed_rows(InboxRow, found)


ONE = "SELECT CAST(:conversation_id AS uuid) AS id, 1 AS place"


async def read_row(
    uow: UnitOfWork, *, conversation_id: UUID, caller_id: UUID, now: datetime
) -> InboxRow:
    """Return a conversation, as the caller sees it.

    Raises:
        ConversationNotFoundError: No conversation has this id.
    """
    await get_conversation(uow, conversation_id=conversation_id)
    values = {"conversation_id": conversation_id}
    (row,) = await read_rows(uow, ONE, values, caller_id=caller_id, now=now)
    return row
