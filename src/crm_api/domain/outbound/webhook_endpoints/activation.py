"""Enable and disable webhook endpoints, and check whether an endpoint is active."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.outbound.webhook_endpoints.errors import WebhookEndpointDisabledError
from crm_api.domain.outbound.webhook_endpoints.models import (
    DisabledReason,
    EndpointStatus,
    WebhookEndpoint,
)
from crm_api.domain.outbound.webhook_endpoints.service import (
    DELIVER_JOB,
    DISABLED_ALERT,
    change_endpoint,
    get_endpoint,
    note_change,
)
from crm_api.platform.database import UnitOfWork


async def get_active_endpoint(uow: UnitOfWork, endpoint_id: UUID) -> WebhookEndpoint:
    """Return one endpoint, which must be active.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
        WebhookEndpointDisabledError: The endpoint is disabled.
    """
    endpoint = await get_endpoint(uow, endpoint_id)
    if endpoint.status == EndpointStatus.DISABLED:
        raise WebhookEndpointDisabledError
    return endpoint


async def has_active_endpoint(uow: UnitOfWork) -> bool:
    """Return whether any endpoint is active."""
    query = select(WebhookEndpoint.id).where(
        WebhookEndpoint.status == EndpointStatus.ACTIVE, WebhookEndpoint.deleted_at.is_(None)
    )
    return await uow.session.scalar(query.limit(1)) is not None


async def enable_endpoint(
    uow: UnitOfWork, *, endpoint_id: UUID, actor: str, now: datetime
) -> WebhookEndpoint:
    """Enable an endpoint; it then gets new events, and the deliveries that waited until now.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    present = await get_endpoint(uow, endpoint_id, is_locked=True)
    if present.status == EndpointStatus.ACTIVE:
        return present
    enabled = await change_endpoint(
        uow,
        endpoint_id,
        {
            "status": EndpointStatus.ACTIVE,
            "disabled_reason": None,
            "disabled_at": None,
            "failing_since": None,
            "held_until": None,
            # The endpoint gets only events of later transactions.
            "since_transaction": text("pg_current_xact_id()::text::bigint"),
            "updated_at": now,
        },
    )
    await alerts.resolve_alert(uow, kind=DISABLED_ALERT, subject=str(endpoint_id), now=now)
    await note_change(uow, "enable_webhook_endpoint", endpoint_id, actor, now)
    uow.after_commit(DELIVER_JOB)
    return enabled


async def disable_endpoint(
    uow: UnitOfWork, *, endpoint_id: UUID, actor: str, now: datetime
) -> WebhookEndpoint:
    """Disable an endpoint: it gets no events until it is enabled again; its deliveries wait.

    Raises:
        WebhookEndpointNotFoundError: There is no endpoint with this id.
    """
    present = await get_endpoint(uow, endpoint_id, is_locked=True)
    if present.status == EndpointStatus.DISABLED:
        return present
    disabled = await change_endpoint(
        uow,
        endpoint_id,
        {
            "status": EndpointStatus.DISABLED,
            "disabled_reason": DisabledReason.REQUESTED,
            "disabled_at": now,
            "updated_at": now,
        },
    )
    await note_change(uow, "disable_webhook_endpoint", endpoint_id, actor, now)
    return disabled
