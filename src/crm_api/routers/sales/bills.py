"""Routes of quotes and invoices."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.billing import bills
from crm_api.domain.sales.billing.bills import INVOICES, QUOTES
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
from crm_api.routers.http.deps import IN_STATUS, Caller, Paging, State, Uow, require
from crm_api.routers.http.query_parameters import After, Before, QueryZone, start_of
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.sales.recorders import recorder_of

router = APIRouter(prefix="/v1")
Reader = Annotated[Caller, require(Scope.SALES_READ)]
Writer = Annotated[Caller, require(Scope.SALES_WRITE)]
_REFUSALS = ("contact_not_found", "other_currency", "property_not_found")
OfContact = Annotated[UUID | None, Query(description="Return only those for this contact.")]
WithNumber = Annotated[
    str | None,
    Query(max_length=60, description="Return only the one with this number.", examples=["Q-2041"]),
]


@router.post(
    "/quotes",
    status_code=201,
    tags=["quotes and invoices"],
    openapi_extra=fails_with(*_REFUSALS, "quote_exists"),
)
async def create_quote(body: QuoteCreate, uow: Uow, state: State, caller: Writer) -> QuoteRead:
    """Create a quote in any status. `sent` and `approved` record an outcome."""
    async with uow:
        quote = await bills.create_bill(
            uow, QUOTES, body, recorder=recorder_of(caller, state), now=await uow.database_now()
        )
        return QuoteRead.model_validate(quote)


@router.get("/quotes", tags=["quotes and invoices"])
async def list_quotes(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    status: Annotated[QuoteStatus | None, IN_STATUS] = None,
    contact_id: OfContact = None,
    number: WithNumber = None,
    created_after: After = None,
    created_before: Before = None,
    zone: QueryZone,
) -> PageRead[QuoteRead]:
    """List quotes, the newest first."""
    wanted = BillFilter(
        status=status,
        contact_id=contact_id,
        number=number,
        since=start_of(created_after, zone),
        until=start_of(created_before, zone),
    )
    async with uow:
        found = await bills.list_bills(uow, QUOTES, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[QuoteRead.model_validate(one) for one in found.data], next_cursor=found.next_cursor
    )


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
    """Change a quote. The status `sent` or `approved` records an outcome, once for each."""
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
    """Create an invoice in any status. `paid` records an outcome."""
    async with uow:
        invoice = await bills.create_bill(
            uow, INVOICES, body, recorder=recorder_of(caller, state), now=await uow.database_now()
        )
        return InvoiceRead.model_validate(invoice)


@router.get("/invoices", tags=["quotes and invoices"])
async def list_invoices(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    status: Annotated[InvoiceStatus | None, IN_STATUS] = None,
    contact_id: OfContact = None,
    number: WithNumber = None,
    created_after: After = None,
    created_before: Before = None,
    zone: QueryZone,
) -> PageRead[InvoiceRead]:
    """List invoices, the newest first."""
    wanted = BillFilter(
        status=status,
        contact_id=contact_id,
        number=number,
        since=start_of(created_after, zone),
        until=start_of(created_before, zone),
    )
    async with uow:
        found = await bills.list_bills(uow, INVOICES, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[InvoiceRead.model_validate(one) for one in found.data], next_cursor=found.next_cursor
    )


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
    """Change an invoice. The status `paid` records an outcome, once."""
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
