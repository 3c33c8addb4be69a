"""SQL of saved texts."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.templates.models import MessageTemplate
from crm_api.ids import new_id


async def insert_template(
    session: AsyncSession, *, name: str, body: str, now: datetime
) -> MessageTemplate | None:
    """Save a text; None when the name is taken."""
    statement = (
        insert(MessageTemplate)
        .values(id=new_id(), name=name, body=body, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    return await session.scalar(statement.returning(MessageTemplate))


async def id_of_name(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the saved text with a name."""
    return await session.scalar(select(MessageTemplate.id).where(MessageTemplate.name == name))


async def find(session: AsyncSession, *, template_id: UUID) -> MessageTemplate | None:
    """Fetch a saved text, as the database has it now."""
    statement = select(MessageTemplate).where(MessageTemplate.id == template_id)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def find_bodies(session: AsyncSession, *, template_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Fetch the texts with these ids; those that do not exist are left out."""
    statement = select(MessageTemplate.id, MessageTemplate.body).where(
        MessageTemplate.id.in_(set(template_ids))
    )
    return {row.id: row.body for row in await session.execute(statement)}


async def list_templates(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[MessageTemplate]:
    """Fetch saved texts, newest first."""
    statement = select(MessageTemplate)
    if after is not None:
        statement = statement.where(tuple_(MessageTemplate.created_at, MessageTemplate.id) < after)
    statement = statement.order_by(
        MessageTemplate.created_at.desc(), MessageTemplate.id.desc()
    ).limit(limit)
    return (await session.scalars(statement)).all()


async def change(
    session: AsyncSession, *, template_id: UUID, values: dict[str, Any]
) -> MessageTemplate | None:
    """Change a saved text; None when there is none."""
    statement = (
        update(MessageTemplate)
        .where(MessageTemplate.id == template_id)
        .values(values)
        .returning(MessageTemplate)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def delete_template(session: AsyncSession, *, template_id: UUID) -> bool:
    """Remove a saved text; False when there is none."""
    statement = delete(MessageTemplate).where(MessageTemplate.id == template_id)
    return await session.scalar(statement.returning(MessageTemplate.id)) is not None
