"""Routes of quotes and invoices."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from fastapi.responses import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import CONTACT, example_id
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.billing import bills
from crm_api.domain.sales.billing.bills import INVOICES, QUOTES
from crm_api.domain.sales.billing.export import export_bills
from crm_api.domain.sales.billing.models import InvoiceStatus, QuoteStatus
from crm_api.domain.sales.billing.schemas import (
    BillFilter,
    InvoiceCreate,
    InvoiceRead,
    InvoiceUpdate,
    QuoteCreate,
    QuoteRead,
    QuoteUpdate,
)
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import IN_STATUS, Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.query_parameters import After, Before, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.sales.recorders import recorder_of

router = ResourceRouter(prefix="/v1")
Reader = Annotated[Caller, require(Scope.SALES_READ)]
Writer = Annotated[Caller, require(Scope.SALES_WRITE)]
_REFUSALS = ("contact_not_found", "other_currency", "property_not_found")
OfContact = Annotated[
    UUID | None, Query(description="Return only quotes or invoices of this contact.")
]
WithNumber = Annotated[
    str | None,
    Query(
        max_length=60,
        description="Return only the quote or invoice with this number.",
        examples=["Q-2041"],
    ),
]


def _as_csv(thing: str, number: str, status: str) -> dict[int | str, dict[str, Any]]:
    return csv_list(
        {
            "id": example_id(thing),
            "number": number,
            "contact_id": CONTACT,
            "property_id": "",
            "amount_cents": "185000",
            "currency": "USD",
            "status": status,
            "status_at": "2026-11-30T15:04:05.000Z",
            "author": "shop",
            "created_at": "2026-11-30T15:04:05.000Z",
            "updated_at": "2026-11-30T15:04:05.000Z",
        }
    )


QUOTES_AS_CSV = _as_csv("quote", "Q-2041", "sent")
INVOICES_AS_CSV = _as_csv("invoice", "INV-1042", "open")


@router.post(
    "/quotes",
    status_code=201,
    tags=["quotes and invoices"],
    openapi_extra=fails_with(*_REFUSALS, "quote_exists"),
)
async def create_quote(body: QuoteCreate, uow: Uow, state: State, caller: Writer) -> QuoteRead:
    """Create a quote in any status.

    If the status is `sent` or `approved`, an outcome of the kind `quote_sent` or `quote_approved`
    is recorded too. An outcome is a result of the work with a person, which the insight figures
    count.
    """
    async with uow:
        quote = await bills.create_bill(
            uow, QUOTES, body, recorder=recorder_of(caller, state), now=await uow.database_now()
        )
        return QuoteRead.model_validate(quote)


@router.get(
    "/quotes",
    tags=["quotes and invoices"],
    response_model=PageRead[QuoteRead],
    responses=QUOTES_AS_CSV,
)
async def list_quotes(
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
    *,
    status: Annotated[QuoteStatus | None, IN_STATUS] = None,
    contact_id: OfContact = None,
    number: WithNumber = None,
    created_after: After = None,
    created_before: Before = None,
    zone: QueryZone,
) -> PageRead[QuoteRead] | Response:
    """List quotes, the newest first. A CSV response contains all quotes that match."""
    wanted = BillFilter(
        status=status,
        contact_id=contact_id,
        number=number,
        since=start_of(created_after, zone),
        until=start_of(created_before, zone),
    )
    if as_csv:
        return csv_answer(export_bills(state.new_list_uow, QUOTES, wanted), name="quotes")
    async with uow:
        found = await bills.list_bills(uow, QUOTES, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, QuoteRead.model_validate)


@router.get("/quotes/{quote_id}", tags=["quotes and invoices"])
async def get_quote(quote_id: UUID, uow: Uow, _caller: Reader) -> QuoteRead:
    """Return one quote."""
    async with uow:
        return QuoteRead.model_validate(await bills.read_bill(uow, QUOTES, bill_id=quote_id))


@router.patch(
    "/quotes/{quote_id}",
    tags=["quotes and invoices"],
    openapi_extra=fails_with(*_REFUSALS, "quote_exists", "quote_not_found"),
)
async def update_quote(
    quote_id: UUID, body: QuoteUpdate, uow: Uow, state: State, caller: Writer
) -> QuoteRead:
    """Change a quote.

    An outcome is recorded when the status becomes `sent`, and another one when it becomes
    `approved`. If the quote already has this outcome, and it was not reversed, no other is
    recorded. An outcome is a result of the work with a person, which the insight figures count.
    """
    async with uow:
        quote = await bills.change_bill(
            uow,
            QUOTES,
            body,
            bill_id=quote_id,
            recorder=recorder_of(caller, state),
            now=await uow.database_now(),
        )
        return QuoteRead.model_validate(quote)


@router.post(
    "/invoices",
    status_code=201,
    tags=["quotes and invoices"],
    openapi_extra=fails_with(*_REFUSALS, "invoice_exists"),
)
async def create_invoice(
    body: InvoiceCreate, uow: Uow, state: State, caller: Writer
) -> InvoiceRead:
    """Create an invoice in any status.

    If the status is `paid`, an outcome of the kind `invoice_paid` is recorded too. An outcome is a
    result of the work with a person, which the insight figures count.
    """
    async with uow:
        invoice = await bills.create_bill(
            uow, INVOICES, body, recorder=recorder_of(caller, state), now=await uow.database_now()
        )
        return InvoiceRead.model_validate(invoice)


@router.get(
    "/invoices",
    tags=["quotes and invoices"],
    response_model=PageRead[InvoiceRead],
    responses=INVOICES_AS_CSV,
)
async def list_invoices(
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
    *,
    status: Annotated[InvoiceStatus | None, IN_STATUS] = None,
    contact_id: OfContact = None,
    number: WithNumber = None,
    created_after: After = None,
    created_before: Before = None,
    zone: QueryZone,
) -> PageRead[InvoiceRead] | Response:
    """List invoices, the newest first. A CSV response contains all invoices that match."""
    wanted = BillFilter(
        status=status,
        contact_id=contact_id,
        number=number,
        since=start_of(created_after, zone),
        until=start_of(created_before, zone),
    )
    if as_csv:
        return csv_answer(export_bills(state.new_list_uow, INVOICES, wanted), name="invoices")
    async with uow:
        found = await bills.list_bills(uow, INVOICES, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, InvoiceRead.model_validate)


@router.get("/invoices/{invoice_id}", tags=["quotes and invoices"])
async def get_invoice(invoice_id: UUID, uow: Uow, _caller: Reader) -> InvoiceRead:
    """Return one invoice."""
    async with uow:
        return InvoiceRead.model_validate(await bills.read_bill(uow, INVOICES, bill_id=invoice_id))


@router.patch(
    "/invoices/{invoice_id}",
    tags=["quotes and invoices"],
    openapi_extra=fails_with(*_REFUSALS, "invoice_exists", "invoice_not_found"),
)
async def update_invoice(
    invoice_id: UUID, body: InvoiceUpdate, uow: Uow, state: State, caller: Writer
) -> InvoiceRead:
    """Change an invoice. An outcome is recorded when the status becomes `paid`.

    If the invoice already has this outcome, and it was not reversed, no other is recorded. An
    outcome is a result of the work with a person, which the insight figures count.
    """
    async with uow:
        invoice = await bills.change_bill(
            uow,
            INVOICES,
            body,
            bill_id=invoice_id,
            recorder=recorder_of(caller, state),
            now=await uow.database_now(),
        )
        return InvoiceRead.model_validate(invoice)
