"""Write quotes and invoices, and record their outcomes in the same transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example_id
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.properties import Property
from crm_api.domain.people.properties.errors import NO_SUCH_PROPERTY, PropertyNotFoundError
from crm_api.domain.sales.billing.models import Invoice, InvoiceStatus, Quote, QuoteStatus
from crm_api.domain.sales.billing.schemas import (
    BillFilter,
    InvoiceCreate,
    InvoiceUpdate,
    QuoteCreate,
    QuoteUpdate,
)
from crm_api.domain.sales.outcomes.errors import OtherCurrencyError
from crm_api.domain.sales.outcomes.models import CURRENCY, OutcomeKind
from crm_api.domain.sales.outcomes.state_outcomes import (
    Recorder,
    Subject,
    correct_outcomes,
    lock_people,
    record_state,
)
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

TAKEN = "Another {name} already has this number. Change that {name}, or choose a different number."


class QuoteNotFoundError(NotFoundError):
    """No quote has this id."""

    code = "quote_not_found"
    title = "Quote not found"
    detail = "There is no quote with this id. GET /v1/quotes lists all quotes."


class InvoiceNotFoundError(NotFoundError):
    """No invoice has this id."""

    code = "invoice_not_found"
    title = "Invoice not found"
    detail = "There is no invoice with this id. GET /v1/invoices lists all invoices."


class QuoteExistsError(ConflictError):
    """Another quote has this number. ``quote_id`` is the id of that quote."""

    code = "quote_exists"
    title = "Quote already exists"
    example = Example(TAKEN.format(name="quote"), quote_id=example_id("quote"))


class InvoiceExistsError(ConflictError):
    """Another invoice has this number. ``invoice_id`` is the id of that invoice."""

    code = "invoice_exists"
    title = "Invoice already exists"
    example = Example(TAKEN.format(name="invoice"), invoice_id=example_id("invoice"))


Bill = TypeVar("Bill", Quote, Invoice)
_RECORDED = frozenset({"contact_id", "property_id", "amount_cents"})
"""The fields whose values are also stored in outcomes."""


@dataclass(frozen=True, kw_only=True)
class BillKind(Generic[Bill]):
    """What differs between quotes and invoices: the table, the errors and the outcomes.

    Attributes:
        name: ``quote`` or ``invoice``. The external ids of the outcomes begin with this name.
        missing: The error if the quote or invoice does not exist.
        taken: The error if another quote or invoice has the same number.
        outcomes: Maps a status to the kind of outcome to record when the quote or invoice gets
            this status. For other statuses, no outcome is recorded.
    """

    name: str
    table: type[Bill]
    missing: type[NotFoundError]
    taken: type[ConflictError]
    outcomes: Mapping[str, OutcomeKind]


QUOTES = BillKind(
    name="quote",
    table=Quote,
    missing=QuoteNotFoundError,
    taken=QuoteExistsError,
    outcomes={
        QuoteStatus.SENT: OutcomeKind.QUOTE_SENT,
        QuoteStatus.APPROVED: OutcomeKind.QUOTE_APPROVED,
    },
)
INVOICES = BillKind(
    name="invoice",
    table=Invoice,
    missing=InvoiceNotFoundError,
    taken=InvoiceExistsError,
    outcomes={InvoiceStatus.PAID: OutcomeKind.INVOICE_PAID},
)


async def create_bill(
    uow: UnitOfWork,
    kind: BillKind[Bill],
    body: QuoteCreate | InvoiceCreate,
    *,
    recorder: Recorder,
    now: datetime,
) -> Bill:
    """Create a quote or an invoice. For some statuses, such as ``paid``, also record an outcome.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        InvoiceExistsError: Another invoice has this number.
        OtherCurrencyError: The amount is not in the currency of the company.
        PropertyNotFoundError: The property does not exist.
        QuoteExistsError: Another quote has this number.
    """
    if body.currency != CURRENCY:
        raise OtherCurrencyError
    contact = await contacts.lock_contact(uow, contact_id=body.contact_id)
    await _check_property(uow, body.property_id)
    values = {
        **body.model_dump(),
        "id": new_id(),
        "contact_id": contact.id,
        "status_at": min(body.status_at or now, now),
        "author": recorder.name,
        "created_at": now,
        "updated_at": now,
    }
    # If two requests insert the same number at the same time, the unique index accepts only one.
    statement = insert(kind.table).values(values).on_conflict_do_nothing(index_elements=["number"])
    made = await uow.session.scalar(statement.returning(kind.table))
    if made is None:
        await _refuse_number(uow, kind, body.number)
        raise kind.missing
    return await _record(uow, kind, made, changed={"status"}, recorder=recorder, now=now)


async def change_bill(
    uow: UnitOfWork,
    kind: BillKind[Bill],
    changes: QuoteUpdate | InvoiceUpdate,
    *,
    bill_id: UUID,
    recorder: Recorder,
    now: datetime,
) -> Bill:
    """Change a quote or an invoice.

    If the new status is in ``kind.outcomes``, also record an outcome. If the contact, property or
    amount changes, also correct the recorded outcomes. If the date changes and the status stays the
    same, also correct the date of the outcome for the present status.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        InvoiceExistsError: Another invoice has this number.
        InvoiceNotFoundError: The invoice does not exist.
        OtherCurrencyError: The amount is not in the currency of the company.
        PropertyNotFoundError: The property does not exist.
        QuoteExistsError: Another quote has this number.
        QuoteNotFoundError: The quote does not exist.
    """
    values = changes.model_dump(exclude_unset=True)
    if values.get("currency", CURRENCY) != CURRENCY:
        raise OtherCurrencyError
    seen = await read_bill(uow, kind, bill_id=bill_id)
    await lock_people(uow, [seen.contact_id, values.get("contact_id")])
    if "contact_id" in values:
        contact = await contacts.lock_contact(uow, contact_id=values["contact_id"])
        values["contact_id"] = contact.id
    await _check_property(uow, values.get("property_id"))
    before = await read_bill(uow, kind, bill_id=bill_id, is_locked=True)
    if "status_at" in values:
        values["status_at"] = min(values["status_at"], now)
    elif values.get("status", before.status) != before.status:
        values["status_at"] = now
    changed = {name for name, value in values.items() if getattr(before, name) != value}
    if not changed:
        return before
    if "number" in changed:
        await _refuse_number(uow, kind, values["number"])
    table = kind.table
    statement = (
        update(table)
        .where(table.id == bill_id)
        .values({**values, "updated_at": now})
        .returning(table)
        .execution_options(populate_existing=True)
    )
    try:
        async with uow.session.begin_nested():
            after = (await uow.session.scalars(statement)).one()
    except IntegrityError:
        # Another request has stored this number since the check above.
        await _refuse_number(uow, kind, values.get("number", before.number))
        raise
    return await _record(uow, kind, after, changed=changed, recorder=recorder, now=now)


async def _record(
    uow: UnitOfWork,
    kind: BillKind[Bill],
    bill: Bill,
    *,
    changed: set[str],
    recorder: Recorder,
    now: datetime,
) -> Bill:
    """Record an outcome if a quote or an invoice got a new status, such as ``paid``.

    The outcomes that are already recorded are corrected first, in these cases:

    - The contact, the property or the amount changed.
    - The date changed, and the status did not.

    If the quote or invoice has no contact, do nothing.

    Args:
        changed: The names of the fields that changed.
    """
    if bill.contact_id is None:
        return bill
    known: dict[str, str] = dict(bill.outcomes)
    subject = Subject(
        name=kind.name,
        id=bill.id,
        contact_id=bill.contact_id,
        property_id=bill.property_id,
        amount_cents=bill.amount_cents,
        known=known,
    )
    occurred = {bill.status: bill.status_at} if "status_at" in changed else {}
    if "status" in changed:
        occurred = {}
    if known and (changed & _RECORDED or occurred.keys() & known.keys()):
        known = await correct_outcomes(uow, subject, occurred=occurred, recorder=recorder, now=now)
        subject = replace(subject, known=known)
    outcome = kind.outcomes.get(bill.status)
    if "status" in changed and outcome is not None:
        known = await record_state(
            uow,
            subject,
            status=bill.status,
            kind=outcome,
            occurred_at=bill.status_at,
            recorder=recorder,
            now=now,
        )
    if known != bill.outcomes:
        bill.outcomes = known
        await uow.session.flush()
    return bill


async def read_bill(
    uow: UnitOfWork, kind: BillKind[Bill], *, bill_id: UUID, is_locked: bool = False
) -> Bill:
    """Return the quote or invoice with this id.

    Args:
        uow: The unit of work.
        kind: ``QUOTES`` or ``INVOICES``.
        bill_id: The id of the quote or invoice.
        is_locked: Whether to lock the row until the transaction ends.

    Raises:
        InvoiceNotFoundError: The invoice does not exist.
        QuoteNotFoundError: The quote does not exist.
    """
    statement = select(kind.table).where(kind.table.id == bill_id)
    if is_locked:
        statement = statement.with_for_update(key_share=True)
    found = await uow.session.scalar(statement.execution_options(populate_existing=True))
    if found is None:
        raise kind.missing
    return found


async def list_bills(
    uow: UnitOfWork, kind: BillKind[Bill], wanted: BillFilter, *, cursor: str | None, limit: int
) -> Page[Bill]:
    """Return a page of quotes or invoices, the newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors(f"{kind.name}s", wanted=wanted)
    statement = bills_statement(kind, wanted)
    at, row_id = kind.table.created_at, kind.table.id
    return await read_newest(
        uow.session, statement, at, row_id, cursors=cursors, cursor=cursor, limit=limit
    )


def bills_statement(kind: BillKind[Bill], wanted: BillFilter) -> Select[Bill]:
    """Return the statement that reads quotes or invoices, in no particular order."""
    table = kind.table
    conditions: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        conditions.append(table.status == wanted.status)
    if wanted.contact_id is not None:
        conditions.append(table.contact_id == wanted.contact_id)
    if wanted.number is not None:
        conditions.append(table.number == wanted.number)
    if wanted.since is not None:
        conditions.append(table.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.created_at < wanted.until)
    return select(table).where(*conditions)


async def _refuse_number(uow: UnitOfWork, kind: BillKind[Bill], number: str) -> None:
    """Raise an error if another quote or invoice has this number."""
    other = await uow.session.scalar(select(kind.table.id).where(kind.table.number == number))
    if other is not None:
        raise kind.taken(TAKEN.format(name=kind.name), **{f"{kind.name}_id": str(other)})


async def _check_property(uow: UnitOfWork, property_id: UUID | None) -> None:
    if property_id is not None and await uow.session.get(Property, property_id) is None:
        raise PropertyNotFoundError(NO_SUCH_PROPERTY)
