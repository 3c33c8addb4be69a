"""The legal rules that are kept."""

from typing import Annotated

from fastapi import APIRouter, Query

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.compliance import service as compliance
from crm_api.domain.compliance.schemas import RulesRead
from crm_api.domain.fields import RequestDay
from crm_api.routers.deps import Caller, State, require

router = APIRouter(prefix="/v1", tags=["compliance"])


@router.get("/compliance-rules")
async def list_rules(
    state: State,
    _caller: Annotated[Caller, require(Scope.CAMPAIGNS_READ)],
    on: Annotated[
        RequestDay | None, Query(description="A day, as YYYY-MM-DD; today without.")
    ] = None,
) -> RulesRead:
    """List the rules in force on a day, each with its source and whether it was verified."""
    return compliance.list_rules(state.rules, on=on or clock.now().date())
