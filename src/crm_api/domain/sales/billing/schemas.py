"""Request and response models of quotes and invoices."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from crm_api.domain.kit.examples import CONTACT, NOW, example
from crm_api.domain.kit.fields import RequestInstant, Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.sales.billing.models import InvoiceStatus, QuoteStatus
from crm_api.domain.sales.outcomes.models import CURRENCY
from crm_api.domain.sales.outcomes.schemas import Cents, CurrencyCode

DocumentNumber = Annotated[str, Text(longest=60, shortest=1)]
UNSET = datetime.max.replace(tzinfo=UTC)
_QUOTE = {"number": "Q-2041", "contact_id": CONTACT, "amount_cents": 1850000}
_INVOICE = {"number": "INV-1042", "contact_id": CONTACT, "amount_cents": 185000}


class _BillCreate(RequestModel):
    """The fields that new quotes and new invoices share.

    Attributes:
        number: The number of the quote or invoice in your books; unique.
        contact_id: The contact who gets the quote or invoice.
        property_id: The property that the quote or invoice is about; null if none.
        amount_cents: The amount in cents.
        currency: The currency; it must be `USD`.
        status_at: When the quote or invoice got its status. The default is now; a future instant
            becomes now.
    """

    number: DocumentNumber
    contact_id: UUID
    property_id: UUID | None = None
    amount_cents: Cents
    currency: CurrencyCode = CURRENCY
    status_at: RequestInstant | None = None


class QuoteCreate(_BillCreate):
    """A new quote.

    Attributes:
        status: The state of the quote.
    """

    model_config = example(**_QUOTE, status="sent")

    status: QuoteStatus = QuoteStatus.DRAFT


class InvoiceCreate(_BillCreate):
    """A new invoice.

    Attributes:
        status: The state of the invoice.
    """

    model_config = example(**_INVOICE, status="open")

    status: InvoiceStatus = InvoiceStatus.OPEN


class _BillUpdate(RequestModel):
    """The fields of quotes and invoices that can change. An omitted field keeps its value.

    Attributes:
        number: The number of the quote or invoice in your books; unique.
        contact_id: The contact who gets the quote or invoice.
        property_id: The property that the quote or invoice is about; null if none.
        amount_cents: The amount in cents. An outcome with the old amount is reversed, and recorded
            again with the new one.
        currency: The currency; it must be `USD`.
        status_at: When the quote or invoice got its status. If only the status changes, this
            becomes now. A future instant is replaced by now.
    """

    number: DocumentNumber = ""
    contact_id: UUID = UUID(int=0)
    property_id: UUID | None = None
    amount_cents: Cents = 0
    currency: CurrencyCode = CURRENCY
    status_at: RequestInstant = UNSET


class QuoteUpdate(_BillUpdate):
    """The fields of a quote to change. A field that is left out keeps its value.

    Attributes:
        status: The state of the quote.
    """

    model_config = example(status="approved")

    status: QuoteStatus = QuoteStatus.DRAFT


class InvoiceUpdate(_BillUpdate):
    """The fields of an invoice to change. A field that is left out keeps its value.

    Attributes:
        status: The state of the invoice.
    """

    model_config = example(status="paid")

    status: InvoiceStatus = InvoiceStatus.OPEN


class _BillRead(ReadModel):
    """The fields that quotes and invoices share.

    Attributes:
        number: The number of the quote or invoice in your books.
        contact_id: The contact who gets the quote or invoice; null if the contact was erased.
        property_id: The property that the quote or invoice is about; null if none.
        amount_cents: The amount in cents.
        currency: The currency of the amount.
        status_at: When the quote or invoice got its status.
        author: Who created the quote or invoice: an API key's name or a user's e-mail address.
    """

    id: Id
    number: str
    contact_id: Id | None
    property_id: Id | None
    amount_cents: int
    currency: str
    status_at: Instant
    author: str
    created_at: Instant
    updated_at: Instant


class QuoteRead(_BillRead):
    """A quote.

    Attributes:
        status: The state of the quote.
    """

    model_config = example(
        **_QUOTE, property_id=None, currency=CURRENCY, status="sent", status_at=NOW, author="shop"
    )

    status: Annotated[str, Vocabulary(QuoteStatus)]


class InvoiceRead(_BillRead):
    """An invoice.

    Attributes:
        status: The state of the invoice.
    """

    model_config = example(
        **_INVOICE, property_id=None, currency=CURRENCY, status="open", status_at=NOW, author="shop"
    )

    status: Annotated[str, Vocabulary(InvoiceStatus)]


@dataclass(frozen=True, kw_only=True)
class BillFilter:
    """Which quotes or invoices a list contains. A field that is None does not filter.

    Attributes:
        since: Only quotes or invoices that were created at or after this instant.
        until: Only quotes or invoices that were created before this instant.
    """

    status: QuoteStatus | InvoiceStatus | None = None
    contact_id: UUID | None = None
    number: str | None = None
    since: datetime | None = None
    until: datetime | None = None
