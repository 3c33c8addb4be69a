"""Functions that move the clock of the database, for tests with a fixed or a future time."""

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
    """Set the clock of the database ahead of the real time, as the sandbox does."""
    async with engine.begin() as connection:
        await connection.execute(MOVE, {"ahead": ahead})


async def set_database_time(session: AsyncSession, at: datetime) -> None:
    """Set the clock of the database to this instant, only in the transaction of the test."""
    await session.execute(MOVE, {"ahead": at - datetime.now(UTC)})


async def date_receipt(new_uow: UnitOfWorkFactory, event: ReceivedEvent, *, at: datetime) -> None:
    """Set the time of receipt of a stored event to this instant, and make the event due then."""
    values = {"at": at, "id": event.id}
    async with new_uow() as uow:
        await uow.session.execute(DATE_RECEIPT, values)
