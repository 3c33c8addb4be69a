"""Money that waits: approved quotes that have no appointment, and invoices that are not paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text

from crm_api.domain.sales.billing.models import Invoice, Quote
from crm_api.platform.database import UnitOfWork, typed_rows

NOT_OLDER = timedelta(days=365)
"""Older approvals do not wait, so that imported books say nothing about the past."""
UNSCHEDULED = """
    q.status = 'approved' AND q.status_at <= :before AND q.status_at > :since
    AND q.contact_id IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM appointment a
        WHERE a.contact_id = q.contact_id AND a.status IN ('booked', 'held')
          AND a.ends_at > q.status_at)
"""
"""Whether a quote ``q`` that was approved between two instants has no appointment.

An appointment with the same contact that ends after the approval counts, unless it was cancelled or
the person was not there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSum:
    """How many quotes or invoices in one currency wait, and their sum.

    Attributes:
        kind: ``quote`` or ``invoice``.
        amount_cents: The sum of the amounts, in cents.
    """

    kind: str
    currency: str
    count: int
    amount_cents: int


@dataclass(frozen=True, kw_only=True)
class WaitingMoney:
    """The money that waits.

    Attributes:
        sums: One for each kind and currency that has some, in the order of the currencies.
        quotes: The first quotes: those that were approved first.
        invoices: The first invoices: the oldest.
    """

    sums: Sequence[WaitingSum]
    quotes: Sequence[Quote]
    invoices: Sequence[Invoice]


SUMS = text(f"""
    SELECT 'quote' AS kind, q.currency, count(*) AS count,
           CAST(sum(q.amount_cents) AS bigint) AS amount_cents
    FROM quote q WHERE {UNSCHEDULED} GROUP BY q.currency
    UNION ALL
    SELECT 'invoice', i.currency, count(*), CAST(sum(i.amount_cents) AS bigint)
    FROM invoice i WHERE i.status = 'open' GROUP BY i.currency
    ORDER BY 2
""")
FIRST_QUOTES = select(Quote).from_statement(
    text(f"SELECT q.* FROM quote q WHERE {UNSCHEDULED} ORDER BY q.status_at, q.id LIMIT :most")
)
FIRST_INVOICES = select(Invoice).from_statement(
    text(
        "SELECT i.* FROM invoice i WHERE i.status = 'open' ORDER BY i.created_at, i.id LIMIT :most"
    )
)


async def read_waiting_money(uow: UnitOfWork, *, most: int, now: datetime) -> WaitingMoney:
    """Return the sums of what waits, and up to ``most`` quotes and invoices; three statements."""
    approved = {"before": now, "since": now - NOT_OLDER}
    return WaitingMoney(
        sums=typed_rows(WaitingSum, await uow.session.execute(SUMS, approved)),
        quotes=(await uow.session.scalars(FIRST_QUOTES, {**approved, "most": most})).all(),
        invoices=(await uow.session.scalars(FIRST_INVOICES, {"most": most})).all(),
    )
