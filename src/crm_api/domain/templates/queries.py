"""SQL of saved texts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.templates.models import MessageTemplate


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
