"""Do the provider's events reach us? Ask, and read what was found."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.webhook_health import own_text, service
from crm_api.domain.webhook_health.models import Side
from crm_api.domain.webhook_health.own_text import OwnLines
from crm_api.domain.webhook_health.schemas import (
    WebhookHealthCheckCreate,
    WebhookHealthCheckRead,
    WebhookHealthPage,
)
from crm_api.routers.deps import Caller, Paging, State, Uow, require

router = APIRouter(prefix="/v1/webhook-health-checks", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.post("", status_code=HTTPStatus.ACCEPTED)
async def order_check(
    uow: Uow, state: State, caller: Operator, body: WebhookHealthCheckCreate | None = None
) -> WebhookHealthCheckRead:
    """Order a look; the one that waits from this side already is the answer, if there is one.

    A test text is concluded within two minutes: poll the check.
    """
    side = body.side if body is not None else Side.TEST_TEXT
    now = clock.now()
    async with uow:
        if side is Side.TEST_TEXT:
            own = OwnLines.from_settings(state.settings)
            check_id = await own_text.begin(uow, own, asked_by=caller.name, now=now)
        else:
            check_id = await service.order(uow, side=side, asked_by=caller.name, now=now)
        check = await service.ordered(uow, check_id, side=side)
    return WebhookHealthCheckRead.model_validate(check)


@router.get("")
async def list_checks(uow: Uow, state: State, page: Paging, _caller: Operator) -> WebhookHealthPage:
    """List checks, newest first, and how webhooks do from each side."""
    text_is_on = OwnLines.from_settings(state.settings) is not None
    async with uow:
        found = await service.list_checks(uow, cursor=page.cursor, limit=page.limit)
        health = await service.health(uow, text_is_on=text_is_on)
    return WebhookHealthPage(
        data=[WebhookHealthCheckRead.model_validate(check) for check in found.data],
        next_cursor=found.next_cursor,
        health=health,
    )


@router.get("/{check_id}")
async def read_check(check_id: UUID, uow: Uow, _caller: Operator) -> WebhookHealthCheckRead:
    """Read one check."""
    async with uow:
        check = await service.get(uow, check_id)
    return WebhookHealthCheckRead.model_validate(check)
