"""SQL on mails that wait."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.mailbox.models import OutgoingMail


async def add(session: AsyncSession, *, values: dict[str, object]) -> None:
    """Store a mail."""
    await session.execute(insert(OutgoingMail).values(values))


async def claim(
    session: AsyncSession, *, now: datetime, claimed_until: datetime
) -> OutgoingMail | None:
    """Take the mail that has waited longest, so that no other worker sends it meanwhile."""
    due = (
        select(OutgoingMail.id)
        .where(OutgoingMail.next_attempt_at <= now)
        .order_by(OutgoingMail.next_attempt_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(OutgoingMail)
        .where(OutgoingMail.id == due)
        .values(next_attempt_at=claimed_until, attempts=OutgoingMail.attempts + 1)
        .returning(OutgoingMail)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def remove(session: AsyncSession, *, mail_id: UUID) -> None:
    """Forget a mail."""
    await session.execute(delete(OutgoingMail).where(OutgoingMail.id == mail_id))


async def put_off(session: AsyncSession, *, mail_id: UUID, until: datetime, error: str) -> None:
    """Try a mail again later."""
    await session.execute(
        update(OutgoingMail)
        .where(OutgoingMail.id == mail_id)
        .values(next_attempt_at=until, last_error=error)
    )
