"""SQL on whether endpoints still answer."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.webhook_endpoints.models import (
    DisabledReason,
    EndpointStatus,
    WebhookEndpoint,
)

# Rotated again and again within a grace, an endpoint would drown in signatures.
LIST_DUE = text("""
    SELECT e.id, e.url, e.failing_since,
           ARRAY(SELECT s.sealed FROM webhook_secret s
                  WHERE s.endpoint_id = e.id
                    AND (s.expires_at IS NULL OR s.expires_at > CAST(:now AS timestamptz))
                  ORDER BY s.created_at DESC, s.id DESC LIMIT 5) AS secrets
      FROM webhook_endpoint e
     WHERE e.status = 'active' AND e.deleted_at IS NULL
       AND (e.held_until IS NULL OR e.held_until <= CAST(:now AS timestamptz))
       AND EXISTS (SELECT FROM webhook_delivery d
                    WHERE d.endpoint_id = e.id AND d.status = 'pending'
                      AND d.next_attempt_at <= CAST(:now AS timestamptz))
""")

NOTE_ARRIVED = text("""
    UPDATE webhook_endpoint SET failing_since = NULL, held_until = NULL
     WHERE id = ANY(CAST(:ids AS uuid[]))
       AND (failing_since IS NOT NULL OR held_until IS NOT NULL)
""")
NOTE_FAILED = text("""
    UPDATE webhook_endpoint SET failing_since = :now
     WHERE id = ANY(CAST(:ids AS uuid[])) AND failing_since IS NULL
""")
HOLD = text("""
    UPDATE webhook_endpoint e SET held_until = h.until
      FROM unnest(CAST(:ids AS uuid[]), CAST(:untils AS timestamptz[])) AS h (id, until)
     WHERE e.id = h.id AND (e.held_until IS NULL OR e.held_until < h.until)
""")


REMOVE_EXPIRED = text("DELETE FROM webhook_secret WHERE expires_at <= :now RETURNING id")
REMOVE_DELETED = text("""
    DELETE FROM webhook_endpoint e
     WHERE e.deleted_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.endpoint_id = e.id)
    RETURNING id
""")


async def list_due(session: AsyncSession, *, now: datetime) -> Sequence[Row[Any]]:
    """Fetch active endpoints for which something is due, with their secrets, newest first."""
    return (await session.execute(LIST_DUE, {"now": now})).all()


async def note_arrived(session: AsyncSession, *, endpoint_ids: Collection[UUID]) -> None:
    """Note that all is well again, where it was not."""
    await session.execute(NOTE_ARRIVED, {"ids": list(endpoint_ids)})


async def note_failed(
    session: AsyncSession, *, endpoint_ids: Collection[UUID], now: datetime
) -> None:
    """Note since when endpoints fail, unless they do so already."""
    await session.execute(NOTE_FAILED, {"ids": list(endpoint_ids), "now": now})


async def hold(session: AsyncSession, *, holds: Mapping[UUID, datetime]) -> None:
    """Leave endpoints alone until these times, or later ones that they asked for."""
    await session.execute(HOLD, {"ids": list(holds), "untils": list(holds.values())})


async def disable(
    session: AsyncSession,
    *,
    endpoint_ids: Collection[UUID],
    reason: DisabledReason,
    failing_before: datetime | None,
    now: datetime,
) -> Sequence[WebhookEndpoint]:
    """Disable those that are active and fail since before then, if it is given; returns them."""
    statement = update(WebhookEndpoint).where(
        WebhookEndpoint.id.in_(endpoint_ids), WebhookEndpoint.status == EndpointStatus.ACTIVE
    )
    if failing_before is not None:
        statement = statement.where(WebhookEndpoint.failing_since < failing_before)
    disabled = await session.scalars(
        statement.values(
            status=EndpointStatus.DISABLED,
            disabled_reason=reason,
            disabled_at=now,
            updated_at=now,
        ).returning(WebhookEndpoint),
        execution_options={"populate_existing": True},
    )
    return disabled.all()


async def remove_expired(session: AsyncSession, *, now: datetime) -> int:
    """Remove secrets whose grace is over; how many."""
    return len((await session.execute(REMOVE_EXPIRED, {"now": now})).all())


async def remove_deleted(session: AsyncSession) -> int:
    """Remove deleted endpoints of which no delivery is left; how many."""
    return len((await session.execute(REMOVE_DELETED)).all())
