"""Routes that list measures, compute figures of a measure, and list the records of a figure.

A measure is, for example, the reply rate. A figure is the value of a measure, for example for one
campaign. The records of a figure are the messages, people or outcomes that the figure counts.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response
from pydantic import AfterValidator

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.insight.attribution.rules import find_rules
from crm_api.domain.insight.attribution.runs import fill_credits
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.errors import MeasureNotFoundError
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figures import compute_figures
from crm_api.domain.insight.measures.records import (
    RecordRequest,
    export_records,
    list_records,
    read_names,
)
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.schemas import (
    FigureRead,
    InsightRead,
    MeasureList,
    MeasureRead,
    RecordRead,
    rows_of,
)
from crm_api.domain.kit.examples import CAMPAIGN, CONTACT, example_id
from crm_api.domain.kit.fields import RequestInstant, refuse_nul
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.query_parameters import QueryTime, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.insight.attribution import RulesVersion

router = ResourceRouter(prefix="/v1/insight", tags=["insight"])
Reader = Annotated[Caller, require(Scope.INSIGHT_READ)]
REFUSALS = fails_with(
    "attribution_rules_not_found",
    "credits_not_computed",
    "invalid_breakdown",
    "invalid_period",
    "measure_not_found",
    "too_many_figures",
    "too_many_records",
)
_ZONED = "A date means midnight in `timezone`."
From = Annotated[
    QueryTime | None,
    Query(
        alias="from",
        description=f"Count only records at or after this time. {_ZONED}",
        examples=["2026-11-01"],
    ),
]
To = Annotated[
    QueryTime | None,
    Query(description=f"Count only records before this time. {_ZONED}", examples=["2026-12-01"]),
]


async def figure_request_of(
    measure: Annotated[
        str,
        Query(
            max_length=60,
            description="The name of the measure. `/v1/insight/measures` lists all names.",
            examples=["reply_rate"],
        ),
    ],
    zone: QueryZone,
    *,
    by: Annotated[
        Dimension | None, Query(description="Compute one figure for each value of this breakdown.")
    ] = None,
    since: From = None,
    to: To = None,
    bucket: Annotated[
        Bucket | None,
        Query(description="Compute one figure for each day, week or month in `timezone`."),
    ] = None,
    campaign_id: Annotated[
        UUID | None, Query(description="Count only records of this campaign.")
    ] = None,
    line_id: Annotated[
        UUID | None, Query(description="Count only records of this phone line.")
    ] = None,
    list_id: Annotated[
        UUID | None, Query(description="Count only records of campaigns that use this list.")
    ] = None,
    step: Annotated[
        int | None,
        Query(ge=0, le=20, description="Count only records of this step of the campaigns."),
    ] = None,
    rules: RulesVersion = None,
) -> FigureRequest:
    """Build the figure request (measure, breakdown, period, filters) from the query parameters.

    Raises:
        MeasureNotFoundError: No measure has this name.
    """
    found = MEASURES.get(measure)
    if found is None:
        raise MeasureNotFoundError
    return FigureRequest(
        measure=found,
        by=by,
        since=start_of(since, zone),
        until=start_of(to, zone),
        bucket=bucket,
        zone=zone.key,
        campaign_id=campaign_id,
        line_id=line_id,
        list_id=list_id,
        step=step,
        rules_version=rules or 0,
    )


WantedFigures = Annotated[FigureRequest, Depends(figure_request_of)]


async def with_rules(uow: UnitOfWork, request: FigureRequest, *, now: datetime) -> FigureRequest:
    """Find the attribution rules for a figure request; return the request with the rules' version.

    If the request has no version, the current rules are used. If the measure needs credits that are
    missing, these credits are computed now.

    Raises:
        BreakdownError: The measure does not allow the breakdown or the filter.
        CreditsNotComputedError: Too many credits are missing.
        PeriodError: The end of the period is not after its beginning.
        RulesNotFoundError: The requested version of the rules does not exist.
    """
    rules = await find_rules(uow, version=request.rules_version or None)
    request = FigureRequest(**{**vars(request), "rules_version": rules.version})
    request.check()
    if request.needs_credits:
        await fill_credits(uow, rules, now=now)
    return request


@router.get("/measures")
async def list_measures(_caller: Reader) -> MeasureList:
    """List all measures, such as the reply rate, each with its definition in words.

    A measure also has the breakdowns that it allows, such as by campaign.
    """
    return MeasureList(data=[MeasureRead.of(one) for one in MEASURES.values()])


@router.get("", openapi_extra=REFUSALS)
async def get_insight(uow: Uow, wanted: WantedFigures, _caller: Reader) -> InsightRead:
    """Return the figures of a measure, and whether you can rely on each figure.

    A measure is, for example, the reply rate. A figure is its value, for example for one campaign.

    Each figure of a rate has a 95 % confidence interval.
    """
    async with uow:
        now = await uow.database_now()
        request = await with_rules(uow, wanted, now=now)
        found = await compute_figures(uow.session, request, now=now)
    return InsightRead(
        measure=request.measure.name,
        definition=request.measure.definition,
        unit=request.measure.unit,
        by=request.by,
        bucket=request.bucket,
        timezone=request.zone,
        as_of=now,
        rules_version=request.rules_version,
        total=FigureRead.of(found.total),
        rows=rows_of(found),
    )


ROWS_AS_CSV = csv_list(
    {
        "id": example_id("recipient"),
        "kind": "message",
        "at": "2026-11-30T14:05:12.000Z",
        "counted": "true",
        "amount": "",
        "key": CAMPAIGN,
        "contact_id": CONTACT,
        "campaign_id": CAMPAIGN,
        "step": "0",
        "outcome_id": "",
        "part": "",
    }
)


@router.get(
    "/rows",
    response_model=PageRead[RecordRead],
    responses=ROWS_AS_CSV,
    openapi_extra=REFUSALS,
)
async def list_insight_rows(
    *,
    uow: Uow,
    state: State,
    page: Paging,
    wanted: WantedFigures,
    as_csv: WantsCsv,
    caller: Reader,
    key: Annotated[
        Annotated[str, AfterValidator(refuse_nul)] | None,
        Query(
            max_length=200,
            description="The `key` of the figure, from the response of `GET /v1/insight`. Give an "
            "empty string for the figure whose `key` is null. Without this parameter, the records "
            "of all keys are listed.",
            examples=[CAMPAIGN],
        ),
    ] = None,
    bucket_start: Annotated[
        RequestInstant | None,
        Query(
            description="The `bucket_start` of the figure. Without this parameter, the records of "
            "all buckets are listed.",
            examples=["2026-11-01T00:00:00Z"],
        ),
    ] = None,
) -> PageRead[RecordRead] | Response:
    """List the records that a figure counts, the oldest first.

    The field `rows_url` of each figure of `GET /v1/insight` is the path of this request. A sum adds
    up `amount` of the records. For a rate, the records of the denominator are listed, and `counted`
    is true for records of the numerator. A CSV response contains all records.
    """
    shows_people = caller.may(Scope.CONTACTS_READ)
    async with uow:
        request = await with_rules(uow, wanted, now=await uow.database_now())
        records = RecordRequest(request=request, key=key, bucket_start=bucket_start)
        if not as_csv:
            found = await list_records(uow.session, records, cursor=page.cursor, limit=page.limit)
            names = await read_names(uow.session, found.data) if shows_people else None
    if as_csv:
        rows = export_records(state.new_uow, records, shows_people=shows_people)
        return csv_answer(rows, name=request.measure.name)
    return PageRead.of(found, lambda one: RecordRead.of(one, names))
