"""Export quotes or invoices as CSV."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import SQLColumnExpression, tuple_

from crm_api.domain.kit.csv_export import (
    cell,
    copy_rows,
    end_of_page,
    instant,
    row_id,
    write_csv,
)
from crm_api.domain.kit.paging import TimePosition, newest_first
from crm_api.domain.sales.billing.bills import Bill, BillKind, bills_statement
from crm_api.domain.sales.billing.schemas import BillFilter
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

HEADER = (
    "id",
    "number",
    "contact_id",
    "property_id",
    "amount_cents",
    "currency",
    "status",
    "status_at",
    "author",
    "created_at",
    "updated_at",
)


def export_bills(
    new_uow: UnitOfWorkFactory, kind: BillKind[Bill], wanted: BillFilter
) -> AsyncIterator[bytes]:
    """Yield the parts of a CSV file with the quotes or invoices that ``wanted`` selects.

    The rows are ordered from the newest to the oldest.
    """
    table = kind.table
    columns: list[SQLColumnExpression[Any]] = [
        row_id(table.id),
        cell(table.number),
        row_id(table.contact_id),
        row_id(table.property_id),
        table.amount_cents,
        table.currency,
        table.status,
        instant(table.status_at),
        cell(table.author),
        instant(table.created_at),
        instant(table.updated_at),
    ]

    async def next_page(
        uow: UnitOfWork, after: TimePosition | None
    ) -> tuple[bytes, TimePosition | None]:
        rows = bills_statement(kind, wanted)
        rows = newest_first(rows, table.created_at, table.id, after=after, limit=None)
        last = await end_of_page(uow.session, rows.with_only_columns(table.created_at, table.id))
        shown = rows.with_only_columns(*columns)
        if last is None:
            return await copy_rows(uow.session, shown), None
        end = (last[0], last[1])
        within = tuple_(table.created_at, table.id) >= end
        return await copy_rows(uow.session, shown.where(within)), end

    return write_csv(new_uow, header=HEADER, next_page=next_page)
