"""Create finished campaigns, with all rows that remain from their messages.

Each person gets one message of each campaign. So a look-up of a phone number finds its whole
history, as in a company that sends to the same list again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.bulk import bare_tables
from benchmarks.population import BODY, CAMPAIGN, ZONE_KEYS, settle

TABLES = ("campaign_membership", "send_attempt", "activity", "conversation")
KEPT = ("pk_campaign_membership",)
"""Keys that stay during the load, because the trigger that sums the costs looks up the recipient of
each attempt."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """A finished campaign.

    Its last message was delivered ``ago`` before now; the others were delivered during the time
    ``spread`` before the last one.
    """

    line_id: UUID
    ago: timedelta
    spread: timedelta


_CONVERSATIONS = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, created_at)
    SELECT uuid_v7(), :line_id, c.phone, c.id, now() - interval '1 day', now() - interval '1 day'
    FROM (SELECT p.* FROM contact p ORDER BY p.phone LIMIT :count) c
    WHERE NOT EXISTS (SELECT 1 FROM conversation t WHERE t.line_id = :line_id AND t.phone = c.phone)
""")
_MEMBERS = text("""
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, status,
        attempts, provider_message_id, due_at, sent_at, delivered_at, created_at, updated_at)
    SELECT uuid_v7(), :campaign_id, c.id, c.phone, c.zone_key, 'delivered', 1,
           'AC' || CAST(:prefix AS text) || c.phone, s.at, s.at, s.at, s.at, s.at
    FROM (
        SELECT p.*, row_number() OVER (ORDER BY p.phone) AS n FROM contact p
    ) c CROSS JOIN LATERAL (
        SELECT now() - CAST(:ago AS interval)
            - (1 - c.n / CAST(:count AS float8)) * CAST(:spread AS interval) AS at
    ) s
    WHERE c.n <= CAST(:count AS float8)
""")
_ATTEMPTS = text("""
    INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        status, called_at, accepted_at, answered_at, reported_at, provider_message_id, created_at,
        updated_at)
    SELECT m.id, m.id, m.campaign_id, :line_id, m.id, m.phone, :body, 'delivered', m.sent_at,
           m.sent_at, m.sent_at, m.sent_at, m.provider_message_id, m.sent_at, m.sent_at
    FROM campaign_membership m WHERE m.campaign_id = :campaign_id
""")
_ACTIVITIES = text("""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        campaign_id, openphone_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT m.id, 'message', 'outgoing', 'campaign', :line_id, t.id, m.contact_id, m.phone,
           m.campaign_id, m.provider_message_id, :body, 'delivered', 5, m.sent_at, m.sent_at,
           m.sent_at
    FROM campaign_membership m JOIN conversation t ON t.line_id = :line_id AND t.phone = m.phone
    WHERE m.campaign_id = :campaign_id
""")


async def load(database_url: str, campaigns: Sequence[Past], *, people: int) -> list[UUID]:
    """Add completed campaigns to the first ``people`` contacts; return the campaigns' ids."""
    async with bare_tables(database_url, TABLES, kept=KEPT) as connection:
        for line_id in {past.line_id for past in campaigns}:
            await connection.execute(_CONVERSATIONS, {"line_id": line_id, "count": people})
        ids = [await _add(connection, past, people) for past in campaigns]
    await settle(database_url)
    return ids


async def _add(connection: AsyncConnection, past: Past, people: int) -> UUID:
    campaign = {"line_id": past.line_id, "status": "completed", "count": people, "body": BODY}
    made = await connection.execute(CAMPAIGN, {**campaign, "zone_keys": list(ZONE_KEYS)})
    campaign_id: UUID = made.scalar_one()
    times = {"ago": past.ago, "spread": past.spread, "count": people}
    values = {"campaign_id": campaign_id, "prefix": campaign_id.hex}
    await connection.execute(_MEMBERS, {**times, **values})
    texts = {"campaign_id": campaign_id, "line_id": past.line_id, "body": BODY}
    await connection.execute(_ATTEMPTS, texts)
    await connection.execute(_ACTIVITIES, texts)
    return campaign_id
