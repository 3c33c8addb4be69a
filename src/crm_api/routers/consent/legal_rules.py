"""Routes that list the legal rules that this service follows."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import Query

from crm_api.domain.consent.legal_rules import changes
from crm_api.domain.consent.legal_rules.changes import RuleChangesRead
from crm_api.domain.consent.legal_rules.schemas import ComplianceRulesRead
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.fields import RequestDay
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, ListUow, State, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["compliance"])
_LOOKED_AHEAD = timedelta(days=366)


@router.get("/compliance-rules")
async def list_rules(
    state: State,
    _caller: Annotated[Caller, require(Scope.CAMPAIGNS_READ)],
    on: Annotated[
        RequestDay | None,
        Query(description="The day whose rules are listed, as YYYY-MM-DD. The default is today."),
    ] = None,
) -> ComplianceRulesRead:
    """List the legal rules that are in force on one day, each with its source.

    The parameter `on` gives the day; the default is today. `verified` is true if a person has
    checked the rule against its source.
    """
    return changes.list_rules(state.rules, on=on or clock.now().date())


@router.get("/compliance-rules/changes", openapi_extra=fails_with("empty_rule_span"))
async def list_rule_changes(
    uow: ListUow,
    state: State,
    _caller: Annotated[Caller, require(Scope.CAMPAIGNS_READ)],
    *,
    since: Annotated[
        RequestDay | None,
        Query(
            alias="from",
            description="The first day of the period, as YYYY-MM-DD. The default is today.",
            examples=["2027-01-31"],
        ),
    ] = None,
    until: Annotated[
        RequestDay | None,
        Query(
            alias="to",
            description="The day after the last day of the period, as YYYY-MM-DD. The default is "
            "366 days after `from`.",
            examples=["2027-02-01"],
        ),
    ] = None,
) -> RuleChangesRead:
    """List the legal rules that begin or end in a period.

    For each rule, the response shows to how many contacts the rule applies.
    """
    first = since or clock.now().date()
    ahead = min(_LOOKED_AHEAD, date.max - first)
    async with uow:
        return await changes.list_changes(
            uow, state.rules, since=first, until=until or first + ahead
        )
