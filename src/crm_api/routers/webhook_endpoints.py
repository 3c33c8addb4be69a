"""Webhooks out: endpoints, their secrets, and what was sent to them."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.addresses import AddressPolicy
from crm_api.domain.fields import Line200
from crm_api.domain.schemas import PageRead
from crm_api.domain.webhook_deliveries import service as deliveries
from crm_api.domain.webhook_deliveries.models import DeliveryStatus
from crm_api.domain.webhook_deliveries.queries import Selection
from crm_api.domain.webhook_deliveries.schemas import (
    DeliveriesRetried,
    DeliveriesRetry,
    WebhookDeliveryRead,
)
from crm_api.domain.webhook_endpoints import service as endpoints
from crm_api.domain.webhook_endpoints.schemas import (
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookEndpointRead,
    WebhookEndpointUpdate,
    WebhookSecretRotate,
    WebhookSecretRotated,
)
from crm_api.domain.webhook_endpoints.service import Maker
from crm_api.routers.deps import Caller, ListUow, Paging, State, Uow, require

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhook endpoints"])
Reader = Annotated[Caller, require(Scope.WEBHOOKS_READ)]
Writer = Annotated[Caller, require(Scope.WEBHOOKS_WRITE)]


def _maker(caller: Caller) -> Maker:
    return Maker(name=caller.name, scopes=caller.scopes)


@router.post("", status_code=HTTPStatus.CREATED)
async def create_webhook_endpoint(
    body: WebhookEndpointCreate, uow: Uow, state: State, caller: Writer
) -> WebhookEndpointCreated:
    """Have an address told what happens from now on; its secret is in this answer alone.

    Messages are signed as [Standard Webhooks](https://www.standardwebhooks.com) says. The
    endpoint gets what your scopes may see.
    """
    async with uow:
        endpoint, secret = await endpoints.create(
            uow,
            body,
            maker=_maker(caller),
            policy=AddressPolicy.for_webhooks(state.settings),
            key=state.secret,
            now=clock.now(),
        )
    read = WebhookEndpointRead.model_validate(endpoint)
    return WebhookEndpointCreated(**read.model_dump(), secret=secret)


@router.get("")
async def list_webhook_endpoints(
    uow: Uow, page: Paging, _caller: Reader
) -> PageRead[WebhookEndpointRead]:
    """List endpoints, newest first."""
    async with uow:
        found = await endpoints.list_endpoints(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[WebhookEndpointRead.model_validate(row) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/{endpoint_id}")
async def read_webhook_endpoint(
    endpoint_id: UUID, uow: Uow, _caller: Reader
) -> WebhookEndpointRead:
    """Read one endpoint."""
    async with uow:
        endpoint = await endpoints.get(uow, endpoint_id)
    return WebhookEndpointRead.model_validate(endpoint)


@router.patch("/{endpoint_id}")
async def update_webhook_endpoint(
    endpoint_id: UUID, body: WebhookEndpointUpdate, uow: Uow, state: State, caller: Writer
) -> WebhookEndpointRead:
    """Change an endpoint; with another address or other events it gets your scopes."""
    async with uow:
        endpoint = await endpoints.update(
            uow,
            body,
            endpoint_id=endpoint_id,
            maker=_maker(caller),
            policy=AddressPolicy.for_webhooks(state.settings),
            now=clock.now(),
        )
    return WebhookEndpointRead.model_validate(endpoint)


@router.delete("/{endpoint_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_webhook_endpoint(endpoint_id: UUID, uow: Uow, caller: Writer) -> None:
    """Remove an endpoint; nothing more is sent to it."""
    async with uow:
        await endpoints.delete(uow, endpoint_id=endpoint_id, actor=caller.name, now=clock.now())


@router.post("/{endpoint_id}/enable")
async def enable_webhook_endpoint(
    endpoint_id: UUID, uow: Uow, caller: Writer
) -> WebhookEndpointRead:
    """Tell an endpoint what happens from now on, and send what was waiting for it."""
    async with uow:
        endpoint = await endpoints.enable(
            uow, endpoint_id=endpoint_id, actor=caller.name, now=clock.now()
        )
    return WebhookEndpointRead.model_validate(endpoint)


@router.post("/{endpoint_id}/disable")
async def disable_webhook_endpoint(
    endpoint_id: UUID, uow: Uow, caller: Writer
) -> WebhookEndpointRead:
    """Tell an endpoint nothing more until it is enabled again."""
    async with uow:
        endpoint = await endpoints.disable(
            uow, endpoint_id=endpoint_id, actor=caller.name, now=clock.now()
        )
    return WebhookEndpointRead.model_validate(endpoint)


@router.post("/{endpoint_id}/rotate-secret")
async def rotate_webhook_secret(
    endpoint_id: UUID,
    uow: Uow,
    state: State,
    caller: Writer,
    body: WebhookSecretRotate | None = None,
) -> WebhookSecretRotated:
    """Replace the secret; the old one signs beside it for a day, unless told.

    Each message then has two signatures in its header, so that a receiver that knows either
    secret accepts it.
    """
    wanted = body or WebhookSecretRotate()
    async with uow:
        secret, old_until = await endpoints.rotate_secret(
            uow,
            endpoint_id=endpoint_id,
            grace=timedelta(hours=wanted.grace_hours),
            actor=caller.name,
            key=state.secret,
            now=clock.now(),
        )
    return WebhookSecretRotated(secret=secret, previous_signs_until=old_until)


@router.post("/{endpoint_id}/test", status_code=HTTPStatus.ACCEPTED)
async def send_test_webhook(endpoint_id: UUID, uow: Uow, _caller: Writer) -> WebhookDeliveryRead:
    """Send a `webhook.test` message, whatever the endpoint asks for; read its delivery then."""
    async with uow:
        delivery = await deliveries.send_test(uow, endpoint_id=endpoint_id, now=clock.now())
    return WebhookDeliveryRead.of(delivery)


@router.get("/{endpoint_id}/deliveries")
async def list_webhook_deliveries(
    endpoint_id: UUID,
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    *,
    status: DeliveryStatus | None = None,
    event_type: Annotated[Line200 | None, Query(alias="type")] = None,
) -> PageRead[WebhookDeliveryRead]:
    """List what was and will be sent to an endpoint, newest first; kept for 14 days."""
    selection = Selection(endpoint_id=endpoint_id, status=status, type=event_type)
    async with uow:
        found = await deliveries.list_deliveries(
            uow, selection, cursor=page.cursor, limit=page.limit
        )
    return PageRead(
        data=[WebhookDeliveryRead.of(row) for row in found.data], next_cursor=found.next_cursor
    )


@router.post("/{endpoint_id}/deliveries/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_webhook_deliveries(
    endpoint_id: UUID, uow: Uow, caller: Writer, body: DeliveriesRetry | None = None
) -> DeliveriesRetried:
    """Send many again: those that failed, unless told. A dry run only counts."""
    wanted = body or DeliveriesRetry()
    selection = Selection(
        endpoint_id=endpoint_id,
        status=wanted.status,
        type=wanted.type,
        created_after=wanted.created_after,
    )
    async with uow:
        if wanted.dry_run:
            matched = await deliveries.count_selected(uow, selection)
        else:
            matched = await deliveries.retry_selected(
                uow, selection, actor=caller.name, now=clock.now()
            )
    retried = 0 if wanted.dry_run else matched
    return DeliveriesRetried(matched=matched, retried=retried, dry_run=wanted.dry_run)


@router.get("/{endpoint_id}/deliveries/{delivery_id}")
async def read_webhook_delivery(
    endpoint_id: UUID, delivery_id: UUID, uow: Uow, _caller: Reader
) -> WebhookDeliveryRead:
    """Read one delivery; its id is the `webhook-id` of the message."""
    async with uow:
        found = await deliveries.get(uow, endpoint_id=endpoint_id, delivery_id=delivery_id)
    return WebhookDeliveryRead.of(found)


@router.post("/{endpoint_id}/deliveries/{delivery_id}/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_webhook_delivery(
    endpoint_id: UUID, delivery_id: UUID, uow: Uow, _caller: Writer
) -> WebhookDeliveryRead:
    """Send one again, whatever became of it, under the same `webhook-id`."""
    async with uow:
        found = await deliveries.retry(
            uow, endpoint_id=endpoint_id, delivery_id=delivery_id, now=clock.now()
        )
    return WebhookDeliveryRead.of(found)
