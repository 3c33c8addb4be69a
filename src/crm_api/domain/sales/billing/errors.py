"""Errors of quotes and invoices."""

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example_id

TAKEN = "Another {name} has this number. Change that one, or give another number."


class QuoteNotFoundError(NotFoundError):
    """No quote has this id."""

    code = "quote_not_found"
    title = "Quote not found"

    def __init__(self) -> None:
        super().__init__("There is no quote with this id. GET /v1/quotes lists all quotes.")


class InvoiceNotFoundError(NotFoundError):
    """No invoice has this id."""

    code = "invoice_not_found"
    title = "Invoice not found"

    def __init__(self) -> None:
        super().__init__("There is no invoice with this id. GET /v1/invoices lists all invoices.")


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
