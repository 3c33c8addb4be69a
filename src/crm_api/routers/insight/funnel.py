"""Routes of the funnel and of cohorts: how many people reach a stage, such as a reply."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.insight.funnel.funnel import count_cohorts, count_funnel
from crm_api.domain.insight.funnel.people import PeopleFilter, Stage
from crm_api.domain.insight.funnel.schemas import CohortsRead, FunnelRead
from crm_api.domain.insight.measures.dimensions import Bucket
from crm_api.domain.insight.measures.figure_request import BEGINNING, END
from crm_api.routers.http.deps import Caller, ListUow, require
from crm_api.routers.http.query_parameters import QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.insight.insight import From, To

router = ResourceRouter(prefix="/v1/insight", tags=["insight"])
Reader = Annotated[Caller, require(Scope.INSIGHT_READ)]


async def people_of(
    zone: QueryZone,
    *,
    since: From = None,
    to: To = None,
    campaign_id: Annotated[
        UUID | None, Query(description="Count only people who got a message of this campaign.")
    ] = None,
    line_id: Annotated[
        UUID | None, Query(description="Count only people who got a message from this phone line.")
    ] = None,
    list_id: Annotated[
        UUID | None,
        Query(description="Count only people who got a message of a campaign that uses this list."),
    ] = None,
) -> PeopleFilter:
    """Build the filter for the people of a funnel or of cohorts from the query parameters."""
    return PeopleFilter(
        since=start_of(since, zone) or BEGINNING,
        until=start_of(to, zone) or END,
        campaign_id=campaign_id,
        line_id=line_id,
        list_id=list_id,
    )


People = Annotated[PeopleFilter, Depends(people_of)]


@router.get("/funnel", openapi_extra=fails_with("invalid_period", "too_many_records"))
async def get_funnel(
    uow: ListUow,
    people: People,
    _caller: Reader,
    *,
    window_days: Annotated[
        int,
        Query(
            ge=1,
            le=365,
            description="A stage counts if a person reaches it at most this number of days after "
            "the person's first message.",
        ),
    ] = 30,
) -> FunnelRead:
    """Return how many people reach each stage (such as a reply) after their first message.

    A stage counts if the person reached it within `window_days` days after this message. If these
    days are not over yet for a person, the person is left out.
    """
    async with uow:
        now = await uow.database_now()
        found = await count_funnel(uow.session, people, window=timedelta(days=window_days), now=now)
    return FunnelRead.of(found, window_days=window_days, as_of=now)


@router.get("/cohorts", openapi_extra=fails_with("invalid_period", "too_many_records"))
async def get_cohorts(
    uow: ListUow,
    people: People,
    zone: QueryZone,
    _caller: Reader,
    *,
    stage: Annotated[Stage, Query(description="The stage that is counted.")] = Stage.REPLIED,
    bucket: Annotated[
        Bucket, Query(description="The period of a cohort: a day, a week or a month in `timezone`.")
    ] = Bucket.WEEK,
    step_days: Annotated[
        int, Query(ge=1, le=90, description="The number of days from one cell to the next.")
    ] = 7,
    steps: Annotated[int, Query(ge=1, le=52, description="The number of cells of a cohort.")] = 8,
) -> CohortsRead:
    """Count the people who reach a stage, for each day, week or month of their first message.

    A cohort is all people whose first message was sent in the same period. Cell n counts the people
    who reached the stage within n times `step_days` days. It is empty until these days are over for
    the whole cohort.
    """
    async with uow:
        now = await uow.database_now()
        cells = await count_cohorts(
            uow.session,
            people,
            stage=stage,
            bucket=bucket,
            zone=zone.key,
            step_days=step_days,
            steps=steps,
            now=now,
        )
    return CohortsRead.of(cells, stage=stage, as_of=now)
