"""A recipient's status: derived from its attempts, or skipped with a reason."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.sends import derive_statements as sql

BACK_OFF_BASE = 30.0
"""Seconds; the provider asks for a minute's rest at most when it says 429."""
BACK_OFF_CAP = 3600.0
"""Seconds; a day's window must not be slept through."""


async def skip(
    session: AsyncSession, *, membership_ids: Sequence[UUID], reason: str, now: datetime
) -> None:
    """Leave pending recipients out, with the reason."""
    values = {"ids": list(membership_ids), "reason": reason, "now": now}
    await session.execute(sql.SKIP, values)


async def derive(
    session: AsyncSession,
    *,
    membership_ids: Sequence[UUID],
    now: datetime,
    due_at: datetime | None = None,
    back_off: bool = False,
) -> None:
    """Derive memberships from their attempts and the world; the one writer of their status.

    The lock is a statement of its own: the second one must see what others committed meanwhile.

    Args:
        due_at: When those who wait are due again; None leaves it.
        back_off: Each waits longer than before, by a random instant of its own: full jitter up
            to ``BACK_OFF_BASE`` doubled with every call that was put off, not before ``due_at``.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, read 2026-11-25.
    """
    if not membership_ids:
        return
    ids = sorted(set(membership_ids))
    await session.execute(sql.LOCK_MEMBERSHIPS, {"ids": ids})
    values = {
        "ids": ids,
        "due_at": due_at,
        "back_off": back_off,
        "back_off_base": BACK_OFF_BASE,
        "back_off_cap": BACK_OFF_CAP,
        "now": now,
    }
    await session.execute(sql.DERIVE, values)
