"""Find waiting money: approved quotes without an appointment, and unpaid invoices.

Quotes that were approved more than 365 days ago are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text

from crm_api.domain.sales.billing.models import Invoice, Quote
from crm_api.platform.database import UnitOfWork, typed_rows

NOT_OLDER = timedelta(days=365)
"""The longest time since the approval of a quote that is counted. An older quote can come from an
import of the company's old accounts."""
UNSCHEDULED = """
    q.status = 'approved' AND q.status_at <= :before AND q.status_at > :since
    AND q.contact_id IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM appointment a
        WHERE a.contact_id = q.contact_id AND a.status IN ('booked', 'held')
          AND a.ends_at > q.status_at)
"""
"""SQL condition: the quote ``q`` was approved in a period, and has no appointment.

The period is after ``:since``, up to and including ``:before``.

A quote has an appointment if its contact has an appointment that ends after the approval. An
appointment that was cancelled, or to which the person did not come, is ignored. A quote whose
contact was erased does not match.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSum:
    """The number of waiting quotes or invoices in one currency, and the sum of their amounts.

    A quote waits if it was approved in the last 365 days and has no appointment. An invoice waits
    if its status is ``open``.

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
    """Approved quotes without an appointment, and unpaid invoices.

    The argument ``most`` of ``read_waiting_money`` limits the number of quotes and of invoices.

    Attributes:
        sums: One sum for each kind and currency, ordered by currency; empty if no money is waiting.
        quotes: Approved quotes without an appointment, the earliest approval first.
        invoices: Unpaid invoices, the oldest first.
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
    """Return approved quotes without an appointment, unpaid invoices, and sums of their amounts.

    Quotes that were approved more than 365 days ago are left out. The result contains at most
    ``most`` quotes and ``most`` invoices. This limit does not change the sums.
    """
    approved = {"before": now, "since": now - NOT_OLDER}
    return WaitingMoney(
        sums=typed_rows(WaitingSum, await uow.session.execute(SUMS, approved)),
        quotes=(await uow.session.scalars(FIRST_QUOTES, {**approved, "most": most})).all(),
        invoices=(await uow.session.scalars(FIRST_INVOICES, {"most": most})).all(),
    )
