"""SQL that gives up what imports keep for being undone or committed."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_GIVE_UP = text("""
    WITH old AS (
        SELECT id FROM contact_import
        WHERE finished_at < :ended_before AND cleaned_at IS NULL
          AND (undo_state IS NULL OR undo_state = 'completed')
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM contact_import_chunk WHERE import_id IN (SELECT id FROM old)
    )
    UPDATE contact_import SET sample = '[]', columns = '[]', cleaned_at = :now
    WHERE id IN (SELECT id FROM old)
""")


async def give_up(
    session: AsyncSession, *, ended_before: datetime, limit: int, now: datetime
) -> int:
    """Forget chunks and examples of imports that ended so long ago; return of how many."""
    values = {"ended_before": ended_before, "limit": limit, "now": now}
    done = await session.execute(_GIVE_UP, values)
    return int(getattr(done, "rowcount", 0))
