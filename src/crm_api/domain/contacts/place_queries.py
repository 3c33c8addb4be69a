"""SQL that lets campaigns follow people of whom somebody has learned where they are."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Campaigns before memberships: whoever pauses or cancels locks them in this order too. A zone that
# a campaign does not know is never planned for.
_ADD_ZONES_OF = text("""
    UPDATE campaign c
    SET zone_keys = ARRAY(SELECT DISTINCT z FROM unnest(c.zone_keys || mine.places) AS z)
    FROM (
        SELECT k.id, place.zone_keys AS places
        FROM campaign k JOIN (
            SELECT m.campaign_id, array_agg(DISTINCT p.zone_key) AS zone_keys
            FROM campaign_membership m JOIN contact p ON p.phone = m.phone
            WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.zone_key <> p.zone_key
              AND m.status IN ('pending', 'review', 'held', 'sending', 'unknown')
            GROUP BY m.campaign_id
        ) place ON place.campaign_id = k.id
        ORDER BY k.id FOR NO KEY UPDATE OF k
    ) mine
    WHERE c.id = mine.id AND NOT c.zone_keys @> mine.places
""")
_FOLLOW_PLACES = text("""
    UPDATE campaign_membership m SET zone_key = p.zone_key, updated_at = :now
    FROM contact p
    WHERE p.phone = ANY(CAST(:phones AS text[])) AND m.phone = p.phone
      AND m.zone_key <> p.zone_key
      AND m.status IN ('pending', 'review', 'held', 'sending', 'unknown')
""")


async def follow_places(session: AsyncSession, *, phones: Sequence[str], now: datetime) -> None:
    """Let what waits or is under way for these numbers follow the zones of their contacts."""
    await session.execute(_ADD_ZONES_OF, {"phones": list(phones)})
    await session.execute(_FOLLOW_PLACES, {"phones": list(phones), "now": now})
