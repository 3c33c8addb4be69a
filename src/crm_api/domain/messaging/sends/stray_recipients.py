"""Find due recipients with a number that no contact has, and give them their contact's number.

A contact may get a new number while its recipient is stored, or while its message is under way.
Then the recipient can keep a number that no contact has. Such a recipient cannot be claimed
(reserved for sending), because a claim locks the contact of the number.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import typed_rows

DUE_RECIPIENTS = """
        SELECT q.id FROM unnest(CAST(:zone_keys AS text[])) AS z (zone_key)
        CROSS JOIN LATERAL (
            SELECT p.id, p.due_at FROM campaign_membership p
            WHERE p.campaign_id = :campaign_id AND p.zone_key = z.zone_key
              AND p.status = 'pending' AND p.due_at <= :now
            ORDER BY p.due_at, p.id LIMIT :limit
        ) q
        ORDER BY q.due_at, q.id LIMIT :limit"""
"""SQL query for the ids of the recipients of a campaign who are due longest, in these zone keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StrayRecipient:
    """A recipient whose number belongs to no contact.

    Attributes:
        contact_id: The recipient's contact, or the contact that it was merged into. None if the
            contact was deleted.
    """

    id: UUID
    contact_id: UUID | None


FIND_STRAYS = text(f"""
    SELECT m.id, h.id AS contact_id
    FROM ({DUE_RECIPIENTS}
    ) picked
    JOIN campaign_membership m ON m.id = picked.id
    LEFT JOIN contact p ON p.id = m.contact_id
    LEFT JOIN contact h ON h.id = coalesce(p.merged_into, p.id) AND h.deleted_at IS NULL
    WHERE NOT EXISTS (SELECT 1 FROM contact c WHERE c.phone = m.phone)
""")

# Only the holder of the lock of a contact changes the contact's number and moves its recipients.
# The statement does not wait for a lock, because the claim has already locked contacts.
LOCK_CONTACTS = text("""
    SELECT h.id FROM contact h WHERE h.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY h.phone FOR NO KEY UPDATE SKIP LOCKED
""")

# Each transaction locks a campaign before its recipients. A later statement of the claim may add
# zone keys to the campaign.
LOCK_CAMPAIGN = text("SELECT c.id FROM campaign c WHERE c.id = :campaign_id FOR NO KEY UPDATE")

# A recipient is skipped if its contact was deleted, or if the same step already has a recipient
# with the contact's number: that number must not get the message twice. The last condition of this
# statement is always true. It makes PostgreSQL add the zone keys, and so lock the campaign, before
# it changes the recipients.
FOLLOW_CONTACTS = text("""
    WITH stray AS MATERIALIZED (
        SELECT m.id, h.phone, h.zone_key,
               EXISTS (
                   SELECT 1 FROM campaign_membership t
                   WHERE t.campaign_id = m.campaign_id AND t.step = m.step AND t.phone = h.phone)
               OR row_number() OVER (PARTITION BY m.step, h.phone ORDER BY m.id) > 1 AS is_twin
        FROM campaign_membership m
        LEFT JOIN contact p ON p.id = m.contact_id
        LEFT JOIN contact h ON h.id = coalesce(p.merged_into, p.id) AND h.deleted_at IS NULL
        WHERE m.id = ANY(CAST(:ids AS uuid[]))
          AND NOT EXISTS (SELECT 1 FROM contact c WHERE c.phone = m.phone)
    ), zoned AS (
        UPDATE campaign c SET zone_keys = ARRAY(
            SELECT DISTINCT z FROM unnest(c.zone_keys || n.zone_keys) AS z)
        FROM (SELECT array_agg(s.zone_key) AS zone_keys FROM stray s
              WHERE s.phone IS NOT NULL AND NOT s.is_twin) n
        WHERE c.id = :campaign_id AND NOT c.zone_keys @> n.zone_keys
        RETURNING c.id
    )
    UPDATE campaign_membership m
    SET phone = CASE WHEN s.phone IS NULL OR s.is_twin THEN m.phone ELSE s.phone END,
        zone_key = CASE WHEN s.phone IS NULL OR s.is_twin THEN m.zone_key ELSE s.zone_key END,
        status = CASE WHEN s.phone IS NULL OR s.is_twin THEN 'skipped' ELSE m.status END,
        skip_reason = CASE WHEN s.phone IS NULL THEN 'contact_deleted'
                           WHEN s.is_twin THEN 'duplicate_number' ELSE m.skip_reason END,
        updated_at = :now
    FROM stray s
    WHERE m.id = s.id AND m.status IS NOT DISTINCT FROM 'pending'
      AND (SELECT count(*) FROM zoned) >= 0
    RETURNING m.id
""")


async def follow_contacts(
    session: AsyncSession, *, campaign_id: UUID, zone_keys: list[str], limit: int, now: datetime
) -> bool:
    """Give the due recipients whose number belongs to no contact the number of their contact.

    A recipient that cannot get the number is skipped. A recipient whose contact is locked by
    another transaction is left for the next claim.

    Args:
        zone_keys: The zone keys for which messages are allowed now.
        limit: The largest number of due recipients that are examined, those due longest first.

    Returns:
        True if recipients were changed.
    """
    values = {"campaign_id": campaign_id, "zone_keys": zone_keys, "limit": limit, "now": now}
    strays = typed_rows(_StrayRecipient, await session.execute(FIND_STRAYS, values))
    if not strays:
        return False
    owners = [one.contact_id for one in strays if one.contact_id is not None]
    locked = set(await session.scalars(LOCK_CONTACTS, {"ids": owners}))
    await session.execute(LOCK_CAMPAIGN, {"campaign_id": campaign_id})
    ids = [one.id for one in strays if one.contact_id is None or one.contact_id in locked]
    found = await session.execute(
        FOLLOW_CONTACTS, {"ids": ids, "campaign_id": campaign_id, "now": now}
    )
    return bool(found.all())
