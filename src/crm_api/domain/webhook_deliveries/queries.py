"""All SQL on deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.webhook_deliveries.models import DeliveryStatus, WebhookDelivery

# Each endpoint has an allowance of its own, so that none waits behind another one's queue.
CLAIM = text("""
    UPDATE webhook_delivery d
       SET claims = d.claims + 1, next_attempt_at = :lease_until
      FROM (SELECT due.id
              FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:allowances AS integer[]))
                AS lane (endpoint_id, allowance)
             CROSS JOIN LATERAL (
                   SELECT w.id FROM webhook_delivery w
                    WHERE w.endpoint_id = lane.endpoint_id AND w.status = 'pending'
                      AND w.next_attempt_at <= :now
                    ORDER BY w.next_attempt_at, w.id
                    LIMIT lane.allowance
                      FOR UPDATE SKIP LOCKED) due) due
     WHERE d.id = due.id
    RETURNING d.id, d.endpoint_id, d.type, d.happened_at, d.data, d.attempts, d.claims
""")

# By id and claim alone: the planner must not take the partial index of what waits.
RECORD = text("""
    UPDATE webhook_delivery d
       SET status = o.status, attempts = d.attempts + 1, next_attempt_at = o.next_attempt_at,
           last_attempt_at = :now, duration_ms = o.duration_ms,
           response_status = o.response_status, response_body = o.response_body,
           error_code = o.error_code, last_error = o.last_error,
           delivered_at = CASE o.status WHEN 'delivered' THEN CAST(:now AS timestamptz) END
      FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS integer[]), CAST(:statuses AS text[]),
                  CAST(:next_attempts AS timestamptz[]), CAST(:durations AS integer[]),
                  CAST(:response_statuses AS smallint[]), CAST(:response_bodies AS text[]),
                  CAST(:error_codes AS text[]), CAST(:last_errors AS text[]))
        AS o (id, claims, status, next_attempt_at, duration_ms, response_status, response_body,
              error_code, last_error)
     WHERE d.id = o.id AND d.claims = o.claims
""")

PUT_BACK = text("""
    UPDATE webhook_delivery d SET next_attempt_at = :now
      FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS integer[])) AS o (id, claims)
     WHERE d.id = o.id AND d.claims = o.claims
""")

# Of each endpoint the oldest; those of deleted ones whatever their age.
FORGET = text("""
    DELETE FROM webhook_delivery WHERE id IN (
        SELECT old.id FROM webhook_endpoint e
        CROSS JOIN LATERAL (
            SELECT d.id FROM webhook_delivery d
            WHERE d.endpoint_id = e.id
              AND (d.created_at < CAST(:before AS timestamptz) OR e.deleted_at IS NOT NULL)
            ORDER BY d.created_at, d.id LIMIT :limit) old
        LIMIT :limit)
    RETURNING id
""")


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A delivery that this worker holds until the end of the lease.

    Attributes:
        attempts: Tries that ended before this one.
    """

    id: UUID
    endpoint_id: UUID
    type: str
    happened_at: datetime
    data: dict[str, Any]
    attempts: int
    claims: int


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A delivery after a try, as it is written down."""

    claimed: Claimed
    status: DeliveryStatus
    next_attempt_at: datetime
    duration_ms: int
    response_status: int | None
    response_body: str | None
    error_code: str | None
    last_error: str | None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Deliveries of one endpoint; all that is given must hold."""

    endpoint_id: UUID
    status: DeliveryStatus | None = None
    type: str | None = None
    created_after: datetime | None = None


async def add(session: AsyncSession, *, values: dict[str, Any]) -> WebhookDelivery:
    """Add one delivery."""
    delivery = WebhookDelivery(**values)
    session.add(delivery)
    await session.flush()
    await session.refresh(delivery)
    return delivery


async def claim(
    session: AsyncSession, *, allowances: dict[UUID, int], now: datetime, lease_until: datetime
) -> list[Claimed]:
    """Take what is due of these endpoints, the longest waiting first, up to their allowances."""
    values = {
        "endpoint_ids": list(allowances),
        "allowances": list(allowances.values()),
        "now": now,
        "lease_until": lease_until,
    }
    rows = await session.execute(CLAIM, values)
    return sorted((Claimed(**row) for row in rows.mappings()), key=lambda one: one.id)


async def record(session: AsyncSession, tried: Sequence[Tried], *, now: datetime) -> None:
    """Write down what came of tries; where another claim has taken over, nothing."""
    await session.execute(
        RECORD,
        {
            "ids": [one.claimed.id for one in tried],
            "claims": [one.claimed.claims for one in tried],
            "statuses": [one.status.value for one in tried],
            "next_attempts": [one.next_attempt_at for one in tried],
            "durations": [one.duration_ms for one in tried],
            "response_statuses": [one.response_status for one in tried],
            "response_bodies": [one.response_body for one in tried],
            "error_codes": [one.error_code for one in tried],
            "last_errors": [one.last_error for one in tried],
            "now": now,
        },
    )


async def put_back(session: AsyncSession, claimed: Sequence[Claimed], *, now: datetime) -> None:
    """Let deliveries that were not tried be due again."""
    values = {
        "ids": [one.id for one in claimed],
        "claims": [one.claims for one in claimed],
        "now": now,
    }
    await session.execute(PUT_BACK, values)


async def find(
    session: AsyncSession, *, endpoint_id: UUID, delivery_id: UUID
) -> WebhookDelivery | None:
    """Fetch one delivery of an endpoint as it is now."""
    statement = select(WebhookDelivery).where(
        WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == endpoint_id
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def list_deliveries(
    session: AsyncSession,
    selection: Selection,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[WebhookDelivery]:
    """Fetch deliveries of an endpoint, newest first."""
    statement = select(WebhookDelivery).where(*_where(selection))
    if after is not None:
        statement = statement.where(tuple_(WebhookDelivery.created_at, WebhookDelivery.id) < after)
    statement = statement.order_by(
        WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc()
    ).limit(limit)
    return (await session.scalars(statement)).all()


async def count(session: AsyncSession, selection: Selection) -> int:
    """Count selected deliveries."""
    statement = select(func.count()).select_from(WebhookDelivery).where(*_where(selection))
    return (await session.execute(statement)).scalar_one()


async def begin_anew(
    session: AsyncSession, selection: Selection, *, delivery_id: UUID | None = None, now: datetime
) -> int:
    """Let selected deliveries, or the one of them, be due now with all their tries; how many."""
    where = list(_where(selection))
    if delivery_id is not None:
        where.append(WebhookDelivery.id == delivery_id)
    statement = (
        update(WebhookDelivery)
        .where(*where)
        .values(
            status=DeliveryStatus.PENDING,
            attempts=0,
            next_attempt_at=now,
            delivered_at=None,
        )
    )
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]  # a cursor's, though typed as any


async def forget(session: AsyncSession, *, before: datetime, limit: int) -> Sequence[Row[Any]]:
    """Delete the oldest deliveries, and those of deleted endpoints; their ids."""
    return (await session.execute(FORGET, {"before": before, "limit": limit})).all()


def _where(selection: Selection) -> list[Any]:
    found = [WebhookDelivery.endpoint_id == selection.endpoint_id]
    if selection.status is not None:
        found.append(WebhookDelivery.status == selection.status.value)
    if selection.type is not None:
        found.append(WebhookDelivery.type == selection.type)
    if selection.created_after is not None:
        found.append(WebhookDelivery.created_at >= selection.created_after)
    return found
