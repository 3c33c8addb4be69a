"""Export outcomes as CSV."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from crm_api.domain.kit.csv_export import PAGE, cell_text, csv_lines, write_csv
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
        shown = [OutcomeRead.of(one, shows_people=shows_people) for one in rows]
        lines = csv_lines([[_cell(getattr(one, name)) for name in HEADER] for one in shown])
        is_last = len(rows) < PAGE
        return lines, None if is_last else (rows[-1].occurred_at, rows[-1].id)

    return write_csv(new_uow, header=HEADER, next_page=next_page)


def _cell(value: object) -> str:
    return str(value) if isinstance(value, int) else cell_text(value)
