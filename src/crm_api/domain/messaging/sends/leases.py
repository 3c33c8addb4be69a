"""Handle ended leases of stopped workers: release claims, and make running requests unknown.

A lease is the time for which a claim or a running request belongs to one worker.
"""

from datetime import datetime

from sqlalchemy import text

from crm_api.domain.messaging.sends import derive
from crm_api.platform.database import UnitOfWork

EXPIRE_CLAIMS = text("""
    WITH over AS (
        SELECT a.id FROM send_attempt a
        WHERE a.is_open AND a.status = 'claimed' AND a.lease_until < :now
        ORDER BY a.id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'lease_over',
            updated_at = :now
        FROM over o WHERE a.id = o.id
        RETURNING a.id, a.kind, a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t
        SET status = 'queued', updated_at = :now,
            send_after = CASE WHEN f.kind <> 'campaign' THEN CAST(:now AS timestamptz) END
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT id, membership_id FROM freed
""")

EXPIRE_CALLS = text("""
    WITH over AS (
        SELECT a.id FROM send_attempt a
        WHERE a.is_open AND a.status = 'calling' AND a.lease_until < :now
        ORDER BY a.id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), lost AS (
        UPDATE send_attempt a
        SET status = 'unknown', token = NULL, lease_until = NULL, error_code = 'no_answer',
            updated_at = :now
        FROM over o WHERE a.id = o.id
        RETURNING a.id, a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t SET status = 'unknown', rank = 2, updated_at = :now
        FROM lost l WHERE t.id = l.activity_id AND t.rank < 2
    )
    SELECT id, membership_id FROM lost
""")


async def expire_leases(uow: UnitOfWork, *, limit: int, now: datetime) -> int:
    """Handle ended leases: release claims, and give running requests the status ``unknown``.

    Args:
        limit: The largest number of claims to handle, and also the largest number of requests.

    Returns:
        The number of claims and requests that were handled.
    """
    values = {"limit": limit, "now": now}
    claims = (await uow.session.execute(EXPIRE_CLAIMS, values)).all()
    calls = (await uow.session.execute(EXPIRE_CALLS, values)).all()
    members = [row.membership_id for row in (*claims, *calls) if row.membership_id is not None]
    await derive.derive_recipients(uow.session, membership_ids=members, now=now)
    return len(claims) + len(calls)


NEXT_LEASE = text("""
    SELECT min(a.lease_until) FROM send_attempt a
    WHERE a.is_open AND a.lease_until IS NOT NULL
""")


async def next_lease_end(uow: UnitOfWork) -> datetime | None:
    """Return the earliest end of all leases; None if no claim or request has a lease."""
    end: datetime | None = await uow.session.scalar(NEXT_LEASE)
    return end
