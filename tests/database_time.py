"""The database's time, for tests whose own time is fixed or runs ahead."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from crm_api.domain.inbound.webhook_events.envelope import ReceivedEvent
from crm_api.platform.database import UnitOfWorkFactory

MOVE = text("""
    INSERT INTO sandbox_clock (name, ahead, version) VALUES ('sandbox', :ahead, 1)
    ON CONFLICT (name) DO UPDATE SET ahead = excluded.ahead, version = sandbox_clock.version + 1
""")
DATE_RECEIPT = text("""
    UPDATE webhook_event SET received_at = :at, next_attempt_at = :at
    WHERE id = :id
""")


async def move_database_time(engine: AsyncEngine, *, ahead: timedelta) -> None:
    """Move the database's time, as the sandbox moves its clock."""
    async with engine.begin() as connection:
        await connection.execute(MOVE, {"ahead": ahead})


async def set_database_time(session: AsyncSession, at: datetime) -> None:
    """Set the database's clock to this instant, within the transaction of the test."""
    await session.execute(MOVE, {"ahead": at - datetime.now(UTC)})


async def date_receipt(new_uow: UnitOfWorkFactory, event: ReceivedEvent, *, at: datetime) -> None:
    """Date the receipt of a stored event by the test's time."""
    values = {"at": at, "id": event.id}
    async with new_uow() as uow:
        await uow.session.execute(DATE_RECEIPT, values)
