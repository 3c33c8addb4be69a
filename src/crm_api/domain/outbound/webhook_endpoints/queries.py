"""SQL on webhook endpoints and their secrets."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.outbound.webhook_endpoints.models import (
    EndpointStatus,
    WebhookEndpoint,
    WebhookSecret,
)
from crm_api.platform.ids import new_id

_IS_THERE = WebhookEndpoint.deleted_at.is_(None)


async def count(session: AsyncSession) -> int:
    """Count endpoints."""
    statement = select(func.count()).select_from(WebhookEndpoint).where(_IS_THERE)
    return (await session.execute(statement)).scalar_one()


async def add(session: AsyncSession, *, values: dict[str, Any]) -> WebhookEndpoint:
    """Add an endpoint."""
    endpoint = WebhookEndpoint(**values)
    session.add(endpoint)
    await session.flush()
    await session.refresh(endpoint)
    return endpoint


async def find(
    session: AsyncSession, *, endpoint_id: UUID, is_locked: bool = False
) -> WebhookEndpoint | None:
    """Return an endpoint, read again from the database; None if there is none.

    Args:
        is_locked: Whether to lock the row until the end of the transaction.
    """
    statement = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, _IS_THERE)
    if is_locked:
        statement = statement.with_for_update()
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def has_active(session: AsyncSession) -> bool:
    """Return whether any endpoint is active."""
    statement = select(WebhookEndpoint.id).where(
        WebhookEndpoint.status == EndpointStatus.ACTIVE, _IS_THERE
    )
    return await session.scalar(statement.limit(1)) is not None


async def list_endpoints(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[WebhookEndpoint]:
    """Return up to ``limit`` endpoints, newest first."""
    statement = select(WebhookEndpoint).where(_IS_THERE)
    if after is not None:
        statement = statement.where(tuple_(WebhookEndpoint.created_at, WebhookEndpoint.id) < after)
    statement = statement.order_by(
        WebhookEndpoint.created_at.desc(), WebhookEndpoint.id.desc()
    ).limit(limit)
    return (await session.scalars(statement)).all()


async def change(
    session: AsyncSession, *, endpoint_id: UUID, values: dict[str, Any]
) -> WebhookEndpoint | None:
    """Update an endpoint and return it; None when there is none."""
    statement = (
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, _IS_THERE)
        .values(values)
        .returning(WebhookEndpoint)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def replace_secret(
    session: AsyncSession, *, endpoint_id: UUID, sealed: bytes, old_until: datetime, now: datetime
) -> None:
    """Add a secret; the current one, if any, ends at ``old_until``."""
    await session.execute(
        update(WebhookSecret)
        .where(WebhookSecret.endpoint_id == endpoint_id, WebhookSecret.expires_at.is_(None))
        .values(expires_at=old_until)
    )
    session.add(WebhookSecret(id=new_id(), endpoint_id=endpoint_id, sealed=sealed, created_at=now))
    await session.flush()


async def remove_secrets(session: AsyncSession, *, endpoint_id: UUID) -> None:
    """Delete all secrets of an endpoint."""
    await session.execute(delete(WebhookSecret).where(WebhookSecret.endpoint_id == endpoint_id))


async def enable(
    session: AsyncSession, *, endpoint_id: UUID, now: datetime
) -> WebhookEndpoint | None:
    """Activate an endpoint for events after this transaction; None when there is none."""
    return await change(
        session,
        endpoint_id=endpoint_id,
        values={
            "status": EndpointStatus.ACTIVE,
            "disabled_reason": None,
            "disabled_at": None,
            "failing_since": None,
            "held_until": None,
            "since_transaction": text("pg_current_xact_id()::text::bigint"),
            "updated_at": now,
        },
    )
