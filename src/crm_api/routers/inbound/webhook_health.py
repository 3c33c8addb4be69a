"""Routes of the webhook health checks, which test whether the provider's events arrive."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.inbound.webhook_health import service
from crm_api.domain.inbound.webhook_health.message_check import OwnLines, begin_message_check
from crm_api.domain.inbound.webhook_health.models import WebhookHealthSide
from crm_api.domain.inbound.webhook_health.schemas import (
    WebhookHealthCheckCreate,
    WebhookHealthCheckRead,
    WebhookHealthPage,
)
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1/webhook-health-checks", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with("webhook_health_check_off")
    | shows(status="waiting", sent_at=None, received_at=None, latency_ms=None, concluded_at=None),
)
async def order_check(
    uow: Uow, state: State, caller: Operator, body: WebhookHealthCheckCreate | None = None
) -> WebhookHealthCheckRead:
    """Start a webhook health check, which tests whether the provider's events arrive.

    If a check of the same kind is already running, that check is returned, and no new check starts.
    Read the returned check repeatedly until it has a result. A check with a test message takes at
    most two minutes.
    """
    side = body.side if body is not None else WebhookHealthSide.TEST_TEXT
    asked_by, now = caller.name, clock.now()
    async with uow:
        if side is WebhookHealthSide.TEST_TEXT:
            own = OwnLines.from_settings(state.settings)
            check = await begin_message_check(uow, own, asked_by=asked_by, now=now)
        else:
            check = await service.order_check(uow, side=side, asked_by=asked_by, now=now)
    return WebhookHealthCheckRead.model_validate(check)


@router.get("")
async def list_checks(uow: Uow, state: State, page: Paging, _caller: Operator) -> WebhookHealthPage:
    """List webhook health checks, newest first, with the last result of each kind of check.

    A webhook health check tests whether the provider's events arrive.
    """
    message_is_on = OwnLines.from_settings(state.settings) is not None
    async with uow:
        found = await service.list_checks(uow, cursor=page.cursor, limit=page.limit)
        health = await service.read_health(uow, message_is_on=message_is_on)
    return WebhookHealthPage(
        data=[WebhookHealthCheckRead.model_validate(check) for check in found.data],
        next_cursor=found.next_cursor,
        health=health,
    )


@router.get("/{check_id}")
async def read_check(check_id: UUID, uow: Uow, _caller: Operator) -> WebhookHealthCheckRead:
    """Show one webhook health check, which tests whether the provider's events arrive."""
    async with uow:
        check = await service.get_check(uow, check_id)
    return WebhookHealthCheckRead.model_validate(check)
