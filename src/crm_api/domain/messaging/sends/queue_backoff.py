"""Postpone queued messages outside campaigns after the provider asked to wait."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.sends import derive
from crm_api.platform.database import UnitOfWork

# The back-off is the same as for recipients (`derive.DERIVE`): a random delay ("full jitter") whose
# upper bound grows with every postponed call.
BACK_OFF_QUEUED = text(f"""
    UPDATE activity t
    SET send_after = greatest(CAST(:asked AS timestamptz),
            CAST(:now AS timestamptz) + random() * {derive.WAITS.sql("w.waits")}),
        updated_at = :now
    FROM (
        SELECT a.activity_id, count(*) AS waits
        FROM send_attempt x JOIN send_attempt a ON a.phone = x.phone
        WHERE x.id = ANY(CAST(:attempt_ids AS uuid[])) AND a.activity_id = x.activity_id
          AND a.status = 'released' AND a.called_at IS NOT NULL
          AND a.error_code IS DISTINCT FROM 'account_refused'
        GROUP BY a.activity_id
    ) w
    WHERE t.id = w.activity_id AND t.status = 'queued'
""")


async def back_off_messages(
    uow: UnitOfWork, attempt_ids: Sequence[UUID], *, asked: datetime, now: datetime
) -> None:
    """Postpone the queued messages of these attempts, each by its own random delay.

    Args:
        asked: The instant until which the provider asked to wait (``Retry-After``). No message is
            sent before it.
    """
    if not attempt_ids:
        return
    values = {"attempt_ids": list(attempt_ids), "asked": asked, "now": now}
    await uow.session.execute(BACK_OFF_QUEUED, values)
