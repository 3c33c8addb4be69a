"""SQL on users and tickets."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.accounts.models import (
    Role,
    TicketPurpose,
    User,
    UserStatus,
    UserTicket,
)


async def insert_user(session: AsyncSession, *, values: dict[str, object]) -> User | None:
    """Add a user; None when another one has the address."""
    statement = insert(User).values(values).on_conflict_do_nothing()
    return await session.scalar(statement.returning(User))


async def find(session: AsyncSession, *, user_id: UUID) -> User | None:
    """Fetch a user as the database has them now."""
    return await session.get(User, user_id, populate_existing=True)


async def find_by_email(session: AsyncSession, *, email: str) -> User | None:
    """Fetch the user with an address, in any case."""
    return await session.scalar(select(User).where(func.lower(User.email) == email.lower()))


async def list_users(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[User]:
    """Fetch users, newest first."""
    statement = select(User)
    if after is not None:
        statement = statement.where(tuple_(User.created_at, User.id) < after)
    statement = statement.order_by(User.created_at.desc(), User.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def lock_owners(session: AsyncSession) -> Sequence[UUID]:
    """Fetch the active owners and keep them as they are until the transaction ends."""
    statement = (
        select(User.id)
        .where(User.role == Role.OWNER, User.status == UserStatus.ACTIVE)
        .order_by(User.id)
        .with_for_update()
    )
    return (await session.scalars(statement)).all()


async def update_user(
    session: AsyncSession, *, user_id: UUID, values: dict[str, object]
) -> User | None:
    """Write columns of a user; None when there is none with this id."""
    statement = update(User).where(User.id == user_id).values(values).returning(User)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def replace_tickets(session: AsyncSession, *, values: dict[str, object]) -> None:
    """Add a ticket; earlier ones of the user for the same purpose are no longer good."""
    await session.execute(
        delete(UserTicket).where(
            UserTicket.user_id == values["user_id"], UserTicket.purpose == values["purpose"]
        )
    )
    await session.execute(insert(UserTicket).values(values))


async def ticket_made_at(
    session: AsyncSession, *, user_id: UUID, purpose: TicketPurpose
) -> datetime | None:
    """Return when the user's present ticket was made; None when there is none."""
    return await session.scalar(
        select(UserTicket.created_at).where(
            UserTicket.user_id == user_id, UserTicket.purpose == purpose
        )
    )


async def take_ticket(
    session: AsyncSession, *, token_hash: bytes, purpose: TicketPurpose, now: datetime
) -> UUID | None:
    """Use a ticket up: whose it was; None when it is not good any more."""
    statement = (
        delete(UserTicket)
        .where(
            UserTicket.token_hash == token_hash,
            UserTicket.purpose == purpose,
            UserTicket.expires_at > now,
        )
        .returning(UserTicket.user_id)
    )
    return await session.scalar(statement)


async def remove_tickets(session: AsyncSession, *, before: datetime) -> None:
    """Forget tickets that ended before this instant."""
    await session.execute(delete(UserTicket).where(UserTicket.expires_at < before))
