"""Routes of webhook endpoints, their secrets and their deliveries."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.addresses import AddressPolicy
from crm_api.domain.kit.examples import NOW, example_id
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.outbound.webhook_deliveries import service as deliveries
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus
from crm_api.domain.outbound.webhook_deliveries.schemas import (
    DeliveriesRetried,
    DeliveriesRetry,
    WebhookDeliveryRead,
)
from crm_api.domain.outbound.webhook_deliveries.service import DeliverySelection
from crm_api.domain.outbound.webhook_endpoints import activation
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.domain.outbound.webhook_endpoints.schemas import (
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookEndpointRead,
    WebhookEndpointUpdate,
    WebhookSecretRotate,
    WebhookSecretRotated,
)
from crm_api.domain.outbound.webhook_endpoints.service import Maker
from crm_api.platform import clock
from crm_api.routers.http.deps import IN_STATUS, Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1/webhook-endpoints", tags=["webhook endpoints"])
Reader = Annotated[Caller, require(Scope.WEBHOOKS_READ)]
Writer = Annotated[Caller, require(Scope.WEBHOOKS_WRITE)]


def _maker(caller: Caller) -> Maker:
    return Maker(name=caller.name, scopes=caller.scopes)


WAITING = {
    "status": "pending",
    "attempts": 0,
    "next_attempt_at": NOW,
    "last_attempt_at": None,
    "duration_ms": None,
    "response_status": None,
    "response_body": None,
    "delivered_at": None,
}
"""Example values of a delivery before its first attempt, for the fields that an attempt changes."""


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=fails_with("invalid_endpoint_url", "too_many_webhook_endpoints"),
)
async def create_webhook_endpoint(
    body: WebhookEndpointCreate, uow: Uow, state: State, caller: Writer
) -> WebhookEndpointCreated:
    """Create a webhook endpoint. It gets events from now on. Only this response has the secret.

    Deliveries are signed as defined by [Standard Webhooks](https://www.standardwebhooks.com). The
    endpoint gets only events that your scopes allow.
    """
    async with uow:
        endpoint, secret = await endpoints.create_endpoint(
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
    """List webhook endpoints, newest first."""
    async with uow:
        found = await endpoints.list_endpoints(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, WebhookEndpointRead.model_validate)


@router.get("/{endpoint_id}")
async def read_webhook_endpoint(
    endpoint_id: UUID, uow: Uow, _caller: Reader
) -> WebhookEndpointRead:
    """Show one webhook endpoint."""
    async with uow:
        endpoint = await endpoints.get_endpoint(uow, endpoint_id)
    return WebhookEndpointRead.model_validate(endpoint)


@router.patch("/{endpoint_id}", openapi_extra=fails_with("invalid_endpoint_url"))
async def update_webhook_endpoint(
    endpoint_id: UUID, body: WebhookEndpointUpdate, uow: Uow, state: State, caller: Writer
) -> WebhookEndpointRead:
    """Change a webhook endpoint.

    If you send `url` or `event_types`, your scopes replace the scopes of the endpoint. The endpoint
    then gets only events that your scopes allow.
    """
    async with uow:
        endpoint = await endpoints.update_endpoint(
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
    """Delete a webhook endpoint. Nothing more is sent to it."""
    async with uow:
        await endpoints.delete_endpoint(
            uow, endpoint_id=endpoint_id, actor=caller.name, now=clock.now()
        )


@router.post("/{endpoint_id}/enable")
async def enable_webhook_endpoint(
    endpoint_id: UUID, uow: Uow, caller: Writer
) -> WebhookEndpointRead:
    """Enable a webhook endpoint. It gets new events, and the deliveries that were waiting."""
    async with uow:
        endpoint = await activation.enable_endpoint(
            uow, endpoint_id=endpoint_id, actor=caller.name, now=clock.now()
        )
    return WebhookEndpointRead.model_validate(endpoint)


@router.post(
    "/{endpoint_id}/disable",
    openapi_extra=shows(status="disabled", disabled_reason="requested", disabled_at=NOW),
)
async def disable_webhook_endpoint(
    endpoint_id: UUID, uow: Uow, caller: Writer
) -> WebhookEndpointRead:
    """Disable a webhook endpoint. Nothing is sent to it until it is enabled again."""
    async with uow:
        endpoint = await activation.disable_endpoint(
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
    """Replace the signing secret of an endpoint. The old secret stays in use for a grace period.

    The period is one day by default. During the period, each delivery has two signatures: one with
    the old secret and one with the new secret. A receiver needs only one of the two secrets.
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


@router.post(
    "/{endpoint_id}/test",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with("webhook_endpoint_disabled")
    | shows(
        **WAITING,
        type="webhook.test",
        data={"endpoint_id": example_id("webhook_endpoint")},
    ),
)
async def send_test_webhook(endpoint_id: UUID, uow: Uow, _caller: Writer) -> WebhookDeliveryRead:
    """Send a `webhook.test` event to an endpoint, even if `event_types` does not contain it.

    Read the delivery later to see its result.
    """
    async with uow:
        delivery = await deliveries.send_test_event(uow, endpoint_id=endpoint_id, now=clock.now())
    return WebhookDeliveryRead.of(delivery)


@router.get("/{endpoint_id}/deliveries")
async def list_webhook_deliveries(
    endpoint_id: UUID,
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    *,
    status: Annotated[DeliveryStatus | None, IN_STATUS] = None,
    event_type: Annotated[
        Line200 | None,
        Query(alias="type", description="Only events of this type.", examples=["message.received"]),
    ] = None,
) -> PageRead[WebhookDeliveryRead]:
    """List the deliveries to an endpoint, newest first. They are stored for 14 days."""
    selection = DeliverySelection(endpoint_id=endpoint_id, status=status, type=event_type)
    async with uow:
        found = await deliveries.list_deliveries(
            uow, selection, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, WebhookDeliveryRead.of)


@router.post(
    "/{endpoint_id}/deliveries/retry",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with("webhook_endpoint_disabled"),
)
async def retry_webhook_deliveries(
    endpoint_id: UUID, uow: Uow, caller: Writer, body: DeliveriesRetry | None = None
) -> DeliveriesRetried:
    """Send the selected deliveries again. A dry run only counts the deliveries.

    By default, all failed deliveries to the endpoint are selected.
    """
    wanted = body or DeliveriesRetry()
    selection = DeliverySelection(
        endpoint_id=endpoint_id,
        status=wanted.status,
        type=wanted.type,
        created_after=wanted.created_after,
    )
    async with uow:
        if wanted.dry_run:
            matched = await deliveries.count_deliveries(uow, selection)
        else:
            matched = await deliveries.retry_deliveries(
                uow, selection, actor=caller.name, now=clock.now()
            )
    retried = 0 if wanted.dry_run else matched
    return DeliveriesRetried(matched=matched, retried=retried, dry_run=wanted.dry_run)


@router.get("/{endpoint_id}/deliveries/{delivery_id}")
async def read_webhook_delivery(
    endpoint_id: UUID, delivery_id: UUID, uow: Uow, _caller: Reader
) -> WebhookDeliveryRead:
    """Show one delivery. The id of a delivery is in the header `webhook-id` of the request."""
    async with uow:
        found = await deliveries.get_delivery(uow, endpoint_id=endpoint_id, delivery_id=delivery_id)
    return WebhookDeliveryRead.of(found)


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with("webhook_endpoint_disabled") | shows(**WAITING),
)
async def retry_webhook_delivery(
    endpoint_id: UUID, delivery_id: UUID, uow: Uow, _caller: Writer
) -> WebhookDeliveryRead:
    """Send one delivery again with the same `webhook-id`. The delivery may have any status."""
    async with uow:
        found = await deliveries.retry_delivery(
            uow, endpoint_id=endpoint_id, delivery_id=delivery_id, now=clock.now()
        )
    return WebhookDeliveryRead.of(found)
