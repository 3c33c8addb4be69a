"""Routes that record, list and reverse outcomes, such as a paid invoice."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import CONTACT, example_id
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.outcomes import queries, record
from crm_api.domain.sales.outcomes.export import export_outcomes
from crm_api.domain.sales.outcomes.models import OutcomeKind, OutcomeSource
from crm_api.domain.sales.outcomes.queries import OutcomeFilter
from crm_api.domain.sales.outcomes.record import NewOutcome
from crm_api.domain.sales.outcomes.schemas import OutcomeCreate, OutcomeRead
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.query_parameters import QueryTime, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/outcomes", tags=["outcomes"])
Reader = Annotated[Caller, require(Scope.INSIGHT_READ)]
Writer = Annotated[Caller, require(Scope.INSIGHT_WRITE)]

_ZONED = "A date means midnight in `timezone`."
OccurredAfter = Annotated[
    QueryTime | None,
    Query(
        description=f"Return only outcomes at or after this time. {_ZONED}",
        examples=["2026-11-01T00:00:00Z"],
    ),
]
OccurredBefore = Annotated[
    QueryTime | None,
    Query(
        description=f"Return only outcomes before this time. {_ZONED}",
        examples=["2026-12-01T00:00:00Z"],
    ),
]


OUTCOMES_AS_CSV = csv_list(
    {
        "id": example_id("outcome"),
        "kind": "invoice_paid",
        "name": "",
        "contact_id": CONTACT,
        "phone": "+16175550142",
        "property_id": "",
        "amount_cents": "185000",
        "currency": "USD",
        "occurred_at": "2026-11-30T14:00:00.000Z",
        "source": "api",
        "external_id": "INV-1042",
        "reverses_id": "",
        "reversed_by_id": "",
        "recorded_by": "shop",
        "created_at": "2026-11-30T15:04:05.000Z",
        "first_name": "Ada",
        "last_name": "Bell",
    }
)


def _read(found: queries.FoundOutcome, caller: Caller) -> OutcomeRead:
    return OutcomeRead.of(found, shows_people=caller.may(Scope.CONTACTS_READ))


@router.post(
    "",
    status_code=201,
    responses={200: {"model": OutcomeRead}},
    openapi_extra=fails_with(
        "contact_not_found",
        "other_currency",
        "outcome_exists",
        "outcome_name",
        "outcome_person",
        "property_not_found",
    ),
)
async def record_outcome(
    body: OutcomeCreate, uow: Uow, state: State, response: Response, caller: Writer
) -> OutcomeRead:
    """Record a result of the work with a person, such as a booked appointment or a paid invoice.

    If the source has already recorded this `external_id` with the same values, nothing is recorded:
    the response has the status 200 and contains the earlier outcome.
    """
    usual = OutcomeSource.API if caller.user is None else OutcomeSource.PERSON
    values = body.model_dump() | {"source": body.source or usual}
    async with uow:
        done = await record.record_outcome(
            uow,
            NewOutcome(**values),
            recorded_by=caller.name,
            secret=state.secret,
            now=await uow.database_now(),
        )
    if not done.is_new:
        response.status_code = 200
    return _read(done.outcome, caller)


@router.get("", response_model=PageRead[OutcomeRead], responses=OUTCOMES_AS_CSV)
async def list_outcomes(
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    caller: Reader,
    *,
    kind: Annotated[
        OutcomeKind | None, Query(description="Return only outcomes of this kind.")
    ] = None,
    source: Annotated[
        OutcomeSource | None, Query(description="Return only outcomes of this source.")
    ] = None,
    contact_id: Annotated[
        UUID | None, Query(description="Return only outcomes of this contact.")
    ] = None,
    is_reversed: Annotated[
        bool | None,
        Query(
            alias="reversed",
            description="True: only reversed outcomes and their reversals; false: only the other "
            "outcomes, which count.",
        ),
    ] = None,
    occurred_after: OccurredAfter = None,
    occurred_before: OccurredBefore = None,
    zone: QueryZone,
) -> PageRead[OutcomeRead] | Response:
    """List outcomes, such as paid invoices, and their reversals, the latest first.

    A reversal cancels an outcome that was wrong. A CSV response contains all outcomes and reversals
    that match.
    """
    wanted = OutcomeFilter(
        kind=kind,
        source=source,
        contact_id=contact_id,
        is_reversed=is_reversed,
        occurred_after=start_of(occurred_after, zone),
        occurred_before=start_of(occurred_before, zone),
    )
    if as_csv:
        shows_people = caller.may(Scope.CONTACTS_READ)
        rows = export_outcomes(state.new_list_uow, wanted, shows_people=shows_people)
        return csv_answer(rows, name="outcomes")
    async with uow:
        found = await queries.list_outcomes(
            uow.session, wanted, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, lambda one: _read(one, caller))


@router.get("/{outcome_id}")
async def get_outcome(outcome_id: UUID, uow: Uow, caller: Reader) -> OutcomeRead:
    """Return one outcome."""
    async with uow:
        found = await queries.read_outcome(uow, outcome_id=outcome_id)
    return _read(found, caller)


@router.post(
    "/{outcome_id}/reverse",
    status_code=201,
    openapi_extra=fails_with("outcome_is_reversal", "outcome_not_found", "outcome_reversed"),
)
async def reverse_outcome(outcome_id: UUID, uow: Uow, caller: Writer) -> OutcomeRead:
    """Reverse an outcome that was wrong.

    The response is the reversal, which has the negative amount. Statistics then count neither the
    outcome nor its reversal.
    """
    async with uow:
        made = await record.reverse_outcome(
            uow,
            outcome_id=outcome_id,
            recorded_by=caller.name,
            now=await uow.database_now(),
        )
    return _read(made, caller)
