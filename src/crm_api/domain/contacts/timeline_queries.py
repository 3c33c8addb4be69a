"""SQL of one person's timeline: texts, calls, decisions, campaign steps and notes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

# An entry's number becomes a UUID, so that one key orders them all.
_TIMELINE = text("""
    SELECT * FROM (
        (SELECT a.id AS key, a.id::text AS id, a.kind AS type, a.occurred_at AS at,
                jsonb_build_object(
                    'direction', a.direction, 'origin', a.origin, 'body', a.body,
                    'status', a.status, 'error_code', a.error_code, 'line_id', a.line_id,
                    'campaign_id', a.campaign_id, 'conversation_id', a.conversation_id,
                    'media', a.media, 'call', a.call) AS detail
         FROM activity a
         WHERE a.contact_id = :contact_id AND (a.occurred_at, a.id) < (:at, :key)
         ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit)
        UNION ALL
        (SELECT e.key, e.id::text, e.action, e.created_at,
                jsonb_build_object(
                    'source', e.source, 'actor', e.actor, 'reason', w.reason, 'note', w.note,
                    'activity_id', e.activity_id)
         FROM (
             SELECT e.*, lpad(to_hex(e.id), 32, '0')::uuid AS key
             FROM consent_entry e WHERE e.phone_hash = ANY(:phone_hashes)
         ) e
         LEFT JOIN consent_wording w ON w.entry_id = e.id
         WHERE (e.created_at, e.key) < (:at, :key)
         ORDER BY e.created_at DESC, e.key DESC LIMIT :limit)
        UNION ALL
        (SELECT m.id, m.id::text, 'campaign_step', m.at,
                jsonb_build_object(
                    'campaign_id', m.campaign_id, 'campaign_name', c.name, 'step', m.step,
                    'status', m.status, 'skip_reason', m.skip_reason,
                    'error_code', m.error_code, 'delivered_at', m.delivered_at,
                    'replied_at', m.replied_at)
         FROM (
             SELECT m.*, coalesce(m.sent_at, m.created_at) AS at
             FROM campaign_membership m
             WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.contact_id IN (
                 SELECT CAST(:contact_id AS uuid)
                 UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = :contact_id)
         ) m
         JOIN campaign c ON c.id = m.campaign_id
         WHERE (m.at, m.id) < (:at, :key)
         ORDER BY m.at DESC, m.id DESC LIMIT :limit)
        UNION ALL
        (SELECT n.id, n.id::text, 'note', n.created_at,
                jsonb_build_object(
                    'author', n.author, 'body', n.body, 'pinned', n.is_pinned,
                    'updated_at', n.updated_at)
         FROM contact_note n
         WHERE n.contact_id = :contact_id AND (n.created_at, n.id) < (:at, :key)
         ORDER BY n.created_at DESC, n.id DESC LIMIT :limit)
    ) item
    ORDER BY at DESC, key DESC LIMIT :limit
""")


async def timeline(
    session: AsyncSession,
    *,
    contact_id: UUID,
    phones: Sequence[str],
    phone_hashes: Sequence[bytes],
    after: tuple[datetime, UUID],
    limit: int,
) -> Sequence[Row[Any]]:
    """Fetch (key, id, type, at, detail), newest first, from before ``after`` on."""
    at, key = after
    values = {
        "contact_id": contact_id,
        "phones": list(phones),
        "phone_hashes": list(phone_hashes),
        "at": at,
        "key": key,
        "limit": limit,
    }
    return (await session.execute(_TIMELINE, values)).all()
