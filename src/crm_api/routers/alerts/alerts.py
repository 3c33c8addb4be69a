"""Routes to list and acknowledge alerts."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.models import AlertStatus
from crm_api.domain.alerts.schemas import AlertRead
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform import clock
from crm_api.routers.http.deps import IN_STATUS, Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.get("/alerts")
async def list_alerts(
    uow: Uow,
    page: Paging,
    _caller: Operator,
    *,
    status: Annotated[AlertStatus | None, IN_STATUS] = None,
    kind: Annotated[
        Line200 | None,
        Query(description="List only alerts of this kind.", examples=["line_blocked"]),
    ] = None,
) -> PageRead[AlertRead]:
    """List alerts. The alert whose problem happened most recently comes first."""
    async with uow:
        found = await alerts.list_alerts(
            uow, status=status, kind=kind, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, AlertRead.model_validate)


@router.get("/alerts/{alert_id}")
async def read_alert(alert_id: UUID, uow: Uow, _caller: Operator) -> AlertRead:
    """Show one alert, even if it is resolved."""
    async with uow:
        alert = await alerts.get_alert(uow, alert_id)
    return AlertRead.model_validate(alert)


@router.post("/alerts/{alert_id}/acknowledge")
async def acknowledge_alert(alert_id: UUID, uow: Uow, caller: Operator) -> AlertRead:
    """Acknowledge an alert: record that you take care of it.

    E-mails do not report an acknowledged alert. If the problem still happens after a day, the alert
    opens again.
    """
    async with uow:
        alert = await alerts.acknowledge_alert(
            uow, alert_id=alert_id, actor=caller.name, now=clock.now()
        )
    return AlertRead.model_validate(alert)
