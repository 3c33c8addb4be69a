"""List deliveries, send them again, add test deliveries, and delete old ones after two weeks."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.outbound.live_events.payloads import TEST_TYPE, WebhookTestFacts
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus, WebhookDelivery
from crm_api.domain.outbound.webhook_endpoints import activation, health
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

KEPT_FOR = timedelta(days=14)
"""How long a delivery is stored. All its retries usually end much earlier."""
FORGOTTEN_AT_ONCE = 5_000


class WebhookDeliveryNotFoundError(NotFoundError):
    """The webhook endpoint has no delivery with this id."""

    code = "webhook_delivery_not_found"
    title = "Webhook delivery not found"
    detail = (
        "The endpoint has no delivery with this id. Deliveries are deleted after "
        f"{KEPT_FOR.days} days."
    )


@dataclass(frozen=True, kw_only=True)
class DeliverySelection:
    """A selection of deliveries of one endpoint; a delivery must meet all given conditions.

    Attributes:
        created_after: Only deliveries that were created at this time or later.
    """

    endpoint_id: UUID
    status: DeliveryStatus | None = None
    type: str | None = None
    created_after: datetime | None = None


async def send_test_event(uow: UnitOfWork, *, endpoint_id: UUID, now: datetime) -> WebhookDelivery:
    """Add a delivery of a test event, and wake the worker to send the delivery now.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        WebhookEndpointDisabledError: The endpoint is disabled.
    """
    await activation.get_active_endpoint(uow, endpoint_id)
    delivery = WebhookDelivery(
        id=new_id(),
        endpoint_id=endpoint_id,
        type=TEST_TYPE,
        happened_at=now,
        data=WebhookTestFacts(endpoint_id=endpoint_id).model_dump(mode="json"),
        next_attempt_at=now,
        created_at=now,
    )
    uow.session.add(delivery)
    await uow.session.flush()
    await uow.session.refresh(delivery)
    uow.after_commit(endpoints.DELIVER_JOB)
    return delivery


async def get_delivery(uow: UnitOfWork, *, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Return one delivery of an endpoint.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        WebhookDeliveryNotFoundError: The endpoint has no delivery with this id.
    """
    await endpoints.get_endpoint(uow, endpoint_id)
    query = select(WebhookDelivery).where(
        WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == endpoint_id
    )
    found = await uow.session.scalar(query, execution_options={"populate_existing": True})
    if found is None:
        raise WebhookDeliveryNotFoundError
    return found


async def list_deliveries(
    uow: UnitOfWork, selection: DeliverySelection, *, cursor: str | None, limit: int
) -> Page[WebhookDelivery]:
    """List deliveries of an endpoint, newest first.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        InvalidCursorError: The cursor is not from this list.
    """
    await endpoints.get_endpoint(uow, selection.endpoint_id)
    return await read_newest(
        uow.session,
        select(WebhookDelivery).where(*_conditions(selection)),
        WebhookDelivery.created_at,
        WebhookDelivery.id,
        cursors=Cursors("webhook_deliveries", selection=selection),
        cursor=cursor,
        limit=limit,
    )


async def retry_delivery(
    uow: UnitOfWork, *, endpoint_id: UUID, delivery_id: UUID, now: datetime
) -> WebhookDelivery:
    """Schedule one delivery again, and wake the worker.

    The delivery may have any status. It is due now, and it gets all its retries again. If an
    attempt is in progress, its result is not stored, and the delivery is sent once more.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        WebhookEndpointDisabledError: The endpoint is disabled.
        WebhookDeliveryNotFoundError: The endpoint has no delivery with this id.
    """
    await activation.get_active_endpoint(uow, endpoint_id)
    selection = DeliverySelection(endpoint_id=endpoint_id)
    await _restart_deliveries(uow, selection, delivery_id=delivery_id, now=now)
    uow.after_commit(endpoints.DELIVER_JOB)
    return await get_delivery(uow, endpoint_id=endpoint_id, delivery_id=delivery_id)


async def count_deliveries(uow: UnitOfWork, selection: DeliverySelection) -> int:
    """Count the deliveries that a bulk retry would send again.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    await endpoints.get_endpoint(uow, selection.endpoint_id)
    query = select(func.count()).select_from(WebhookDelivery).where(*_conditions(selection))
    count: int = (await uow.session.execute(query)).scalar_one()
    return count


async def retry_deliveries(
    uow: UnitOfWork, selection: DeliverySelection, *, actor: str, now: datetime
) -> int:
    """Schedule the selected deliveries again; return the number of deliveries.

    The deliveries are due now, and each gets all its retries again. The function also writes an
    audit entry and wakes the worker.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        WebhookEndpointDisabledError: The endpoint is disabled.
    """
    await activation.get_active_endpoint(uow, selection.endpoint_id)
    count = await _restart_deliveries(uow, selection, now=now)
    await note_decision(
        uow,
        actor=actor,
        action="retry_webhook_deliveries",
        subject=str(selection.endpoint_id),
        detail={"deliveries": count, "status": selection.status, "type": selection.type},
        now=now,
    )
    uow.after_commit(endpoints.DELIVER_JOB)
    return count


# Deletes deliveries that were created before a given time, and deliveries of deleted endpoints at
# any age. The oldest deliveries of an endpoint are deleted first.
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


async def forget_old_deliveries(
    uow: UnitOfWork, *, now: datetime, limit: int = FORGOTTEN_AT_ONCE
) -> int:
    """Delete a batch of old deliveries; return the number of deleted rows.

    When no old delivery is left, delete the expired signing secrets, and the rows of deleted
    endpoints without deliveries.
    """
    values = {"before": now - KEPT_FOR, "limit": limit}
    gone = (await uow.session.execute(FORGET, values)).all()
    if gone:
        return len(gone)
    return await health.forget_deleted_endpoints(uow, now=now)


async def _restart_deliveries(
    uow: UnitOfWork,
    selection: DeliverySelection,
    *,
    delivery_id: UUID | None = None,
    now: datetime,
) -> int:
    """Schedule the selected deliveries again; return the number of deliveries.

    The deliveries are due now, and each gets all its retries again. Results of attempts that are in
    progress are not stored.

    Args:
        delivery_id: Schedule only this delivery, if it matches the selection. If None, schedule all
            selected deliveries.
    """
    where = list(_conditions(selection))
    if delivery_id is not None:
        where.append(WebhookDelivery.id == delivery_id)
    statement = (
        update(WebhookDelivery)
        .where(*where)
        .values(
            status=DeliveryStatus.PENDING,
            attempts=0,
            # An attempt may be in progress. Its worker compares the number of claims, so its result
            # cannot overwrite this retry.
            claims=WebhookDelivery.claims + 1,
            next_attempt_at=now,
            delivered_at=None,
        )
    )
    result = await uow.session.execute(
        statement.returning(WebhookDelivery.id), execution_options={"synchronize_session": False}
    )
    return len(result.all())


def _conditions(selection: DeliverySelection) -> list[Any]:
    found = [WebhookDelivery.endpoint_id == selection.endpoint_id]
    if selection.status is not None:
        found.append(WebhookDelivery.status == selection.status.value)
    if selection.type is not None:
        found.append(WebhookDelivery.type == selection.type)
    if selection.created_after is not None:
        found.append(WebhookDelivery.created_at >= selection.created_after)
    return found
