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
    """Wake up to ``limit`` conversations whose snooze is over; return the number of them.

    A conversation gets the state ``waiting`` if the person still waits for an answer. Otherwise it
    gets the state ``open``.
    """
    woken = await uow.session.execute(WAKE, {"limit": limit, "now": now})
    return cast("CursorResult[Any]", woken).rowcount
