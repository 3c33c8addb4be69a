"""SQL of the proof for one number: what stands on it, what was said, what was sent to it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import ContactFlag, ErasedNumber

MESSAGES = text("""
    SELECT a.id, a.direction, a.origin, a.body, a.status, a.openphone_id, a.occurred_at,
           l.number AS line
    FROM activity a LEFT JOIN line l ON l.id = a.line_id
    WHERE a.id = ANY(CAST(:ids AS uuid[]))
""")
TEXTS = text("""
    SELECT count(*) AS accepted, min(a.accepted_at) AS first_at, max(a.accepted_at) AS last_at
    FROM send_attempt a WHERE a.phone = :phone AND a.accepted_at IS NOT NULL
""")
CONTACT = text("SELECT id FROM contact WHERE phone = :phone AND deleted_at IS NULL")


async def contact_of(session: AsyncSession, *, phone: str) -> UUID | None:
    """Return the contact with a number; None when nobody has it."""
    contact_id: UUID | None = await session.scalar(CONTACT, {"phone": phone})
    return contact_id


async def erased_at(session: AsyncSession, *, phone_hash: bytes) -> datetime | None:
    """Return when the number's person was erased; None when they were not."""
    statement = select(ErasedNumber.erased_at).where(ErasedNumber.phone_hash == phone_hash)
    return await session.scalar(statement)


async def flags(session: AsyncSession, *, phone: str) -> list[ContactFlag]:
    """Fetch the flags of a number, also those that have expired."""
    statement = select(ContactFlag).where(ContactFlag.phone == phone)
    return list(await session.scalars(statement.order_by(ContactFlag.created_at, ContactFlag.id)))


async def messages(session: AsyncSession, *, ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """Fetch messages by id."""
    rows = await session.execute(MESSAGES, {"ids": list(ids)})
    return {row.id: row for row in rows}


async def texts(session: AsyncSession, *, phone: str) -> Row[Any]:
    """Count the texts to a number that the provider accepted, and fetch when."""
    return (await session.execute(TEXTS, {"phone": phone})).one()
