"""Wake snoozed conversations when their time has come."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, text

from crm_api.platform.database import UnitOfWork

WAKE = text("""
    WITH due AS (
        SELECT k.id FROM conversation k
        WHERE k.snoozed_until <= CAST(:now AS timestamptz)
        ORDER BY k.line_id, k.phone LIMIT :limit
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE conversation k
    SET state = CASE WHEN k.waiting_since IS NULL THEN 'open' ELSE 'waiting' END,
        snoozed_until = NULL, updated_at = :now
    FROM due WHERE k.id = due.id
""")


async def wake_conversations(uow: UnitOfWork, *, limit: int, now: datetime) -> int:
    """Wake at most ``limit`` conversations whose snooze is over; return how many.

    A conversation waits again if its person waits for an answer, else it is open.
    """
    woken = await uow.session.execute(WAKE, {"limit": limit, "now": now})
    return cast("CursorResult[Any]", woken).rowcount
