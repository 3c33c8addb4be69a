"""Export outcomes as CSV."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from crm_api.domain.kit.csv_export import PAGE, csv_safe, write_csv
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.sales.outcomes.queries import FoundOutcome, OutcomeFilter, outcomes_statement
from crm_api.domain.sales.outcomes.schemas import OutcomeRead
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, typed_rows

HEADER = tuple(OutcomeRead.model_fields)
Position = tuple[datetime, UUID]


def export_outcomes(
    new_uow: UnitOfWorkFactory, wanted: OutcomeFilter, *, shows_people: bool
) -> AsyncIterator[bytes]:
    """Yield the parts of a CSV file with outcomes and reversals, the latest first.

    The filter ``wanted`` selects the outcomes and reversals.

    Contacts and phone numbers are left out unless ``shows_people`` is True.
    """

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        statement, values = outcomes_statement(wanted, after=after, limit=PAGE)
        rows = typed_rows(FoundOutcome, await uow.session.execute(statement, values))
        lines = _lines([OutcomeRead.of(one, shows_people=shows_people) for one in rows])
        is_last = len(rows) < PAGE
        return lines, None if is_last else (rows[-1].occurred_at, rows[-1].id)

    return write_csv(new_uow, header=HEADER, next_page=next_page)


def _lines(rows: Sequence[OutcomeRead]) -> bytes:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in HEADER])
    return written.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return format_instant(value.astimezone(UTC))
    return str(value) if isinstance(value, int) else csv_safe(str(value))
