"""Export the ledger of outcomes as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from crm_api.domain.kit.csv_export import PAGE, csv_safe, write_csv
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.sales.outcomes.queries import (
    FoundOutcome,
    OutcomeFilter,
    outcomes_statement,
)
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, typed_rows

HEADER = (
    "id",
    "kind",
    "name",
    "contact_id",
    "phone",
    "property_id",
    "amount_cents",
    "currency",
    "occurred_at",
    "source",
    "external_id",
    "reverses_id",
    "reversed_by_id",
    "recorded_by",
    "created_at",
)


def export_outcomes(
    new_uow: UnitOfWorkFactory, wanted: OutcomeFilter, *, shows_people: bool
) -> AsyncIterator[bytes]:
    """Yield the parts of a CSV file with outcomes and reversals, the latest first.

    Args:
        new_uow: Opens the transaction of each page.
        wanted: The filters of the list.
        shows_people: False leaves out who the person is, as in the list.
    """

    async def next_page(
        uow: UnitOfWork, after: tuple[datetime, UUID] | None
    ) -> tuple[bytes, tuple[datetime, UUID] | None]:
        statement, values = outcomes_statement(wanted, after=after, limit=PAGE)
        rows = typed_rows(FoundOutcome, await uow.session.execute(statement, values))
        end = None if len(rows) < PAGE else (rows[-1].occurred_at, rows[-1].id)
        if not shows_people:
            rows = [
                replace(one, contact_id=None, phone=None, property_id=None, external_id=None)
                for one in rows
            ]
        return _lines(rows), end

    return write_csv(new_uow, header=HEADER, next_page=next_page)


def _lines(rows: list[FoundOutcome]) -> bytes:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in HEADER])
    return written.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)  # a negative amount is not a formula
    if isinstance(value, datetime):
        return format_instant(value.astimezone(UTC))
    return csv_safe(str(value))
