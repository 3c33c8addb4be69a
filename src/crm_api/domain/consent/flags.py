"""The flags that stand on numbers, and the end of those that are over."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWork
from crm_api.domain.consent import queries
from crm_api.domain.consent.models import SUPPRESSING_FLAGS, ContactFlag

EXPIRED_AT_ONCE = 5_000


async def flags_of(
    session: AsyncSession, phones: Sequence[str], *, now: datetime
) -> dict[str, set[str]]:
    """Return the flags that stand on each of these numbers; a number without any has none."""
    found: dict[str, set[str]] = {phone: set() for phone in phones}
    for phone, flag in await queries.flags_of(session, phones=phones, now=now):
        found[phone].add(flag)
    return found


async def flag_rows(uow: UnitOfWork, *, phone: str, now: datetime) -> list[ContactFlag]:
    """Fetch the flags that stand on a number, by name."""
    return list(await queries.flag_rows(uow.session, phone=phone, now=now))


async def expire_flags(uow: UnitOfWork, *, now: datetime, limit: int = EXPIRED_AT_ONCE) -> int:
    """Remove flags that have ended, some at a time; they count nowhere since they did.

    Returns:
        How many; fewer than ``limit`` when none is left.
    """
    return await queries.expire_flags(uow.session, now=now, limit=limit)


async def held(uow: UnitOfWork, *, contact_ids: Sequence[UUID], now: datetime) -> set[UUID]:
    """Return those of the contacts whose number still waits for a person's decision."""
    return set(await queries.held(uow.session, contact_ids=contact_ids, now=now))


async def suppressed(session: AsyncSession, phones: Sequence[str], *, now: datetime) -> set[str]:
    """Return those of these numbers that get no campaign text now."""
    found = await flags_of(session, phones, now=now)
    return {phone for phone, flags in found.items() if flags.intersection(SUPPRESSING_FLAGS)}
