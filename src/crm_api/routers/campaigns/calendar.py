"""The route that shows campaigns and their planned messages in a calendar."""

from typing import Annotated

from fastapi import Query

from crm_api.domain.campaigns.calendar import CampaignCalendar, Period, read_calendar
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, ListUow, State, require
from crm_api.routers.http.query_parameters import QueryTime, QueryZone, require_start
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/campaigns", tags=["campaigns"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]


@router.get("/calendar", openapi_extra=fails_with("invalid_campaign"))
async def get_calendar(
    uow: ListUow,
    state: State,
    _caller: Reader,
    zone: QueryZone,
    *,
    begin: Annotated[
        QueryTime,
        Query(
            alias="from",
            description="The beginning of the period. A date means midnight in `timezone`.",
            examples=["2026-12-01"],
        ),
    ],
    end: Annotated[
        QueryTime,
        Query(
            alias="to",
            description="The end of the period (exclusive), at most 366 days after `from`. A date "
            "means midnight in `timezone`.",
            examples=["2027-01-01"],
        ),
    ],
) -> CampaignCalendar:
    """Show which campaigns, occurrences and planned messages a period contains.

    An occurrence is one repetition of a campaign. Planned messages are a forecast of what scheduled
    and running campaigns will send in the next 60 days. A draft has no planned messages.
    """
    period = Period(
        starts_at=require_start(begin, zone), ends_at=require_start(end, zone), zone=zone
    )
    async with uow:
        return await read_calendar(
            uow,
            period,
            limits=SendLimits.from_settings(state.settings, rules=state.rules),
            now=clock.now(),
        )
