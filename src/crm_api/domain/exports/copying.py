"""Lists as CSV, of any length in flat memory: COPY writes them, a page and a transaction at a time.

A page ends at a place that was looked up before, so that it holds all rows up to there, whatever
comes in between; the next begins after it. An error ends the stream, and never the file: whoever
reads sees a broken connection.
"""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
)
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWork, UnitOfWorkFactory

PAGE = 5_000
Place = TypeVar("Place")
NextPage = Callable[[UnitOfWork, Place | None], Awaitable[tuple[bytes, Place | None]]]
"""Writes the rows after a place, and says where the next page begins; None after the last."""

_FORMULA_STARTS: ColumnElement[str] = literal_column(r"E'=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'")
"""The last four are full-width, which some spreadsheets take for the plain ones."""
_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_E164 = r"^\+[0-9]{7,15}$"


async def write_csv(
    new_uow: UnitOfWorkFactory, *, header: Sequence[str], next_page: NextPage[Place]
) -> AsyncIterator[bytes]:
    """Give a file part by part."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(spreadsheet_safe, header))
    yield line.getvalue().encode()
    place: Place | None = None
    while True:
        async with new_uow() as uow:
            rows, place = await next_page(uow, place)
        if rows:
            yield rows
        if place is None:
            return


async def end_of_page(
    session: AsyncSession, ordered: Select[*tuple[Any, ...]]
) -> tuple[Any, ...] | None:
    """Return the last row of the page that begins an ordered statement; None on the last page."""
    last = (await session.execute(ordered.offset(PAGE - 1).limit(1))).one_or_none()
    return None if last is None else tuple(last)


async def copy_rows(session: AsyncSession, statement: Select[*tuple[Any, ...]]) -> bytes:
    """Run a statement by COPY; its rows as lines of CSV."""
    connection = await session.connection()
    compiled = statement.compile(dialect=connection.dialect)
    values = [compiled.params[name] for name in compiled.positiontup or ()]
    driver: Any = (await connection.get_raw_connection()).driver_connection
    written = io.BytesIO()

    async def take(rows: bytes) -> None:
        written.write(rows)

    await driver.copy_from_query(str(compiled), *values, output=take, format="csv")
    return written.getvalue()


def spreadsheet_safe(text: str) -> str:
    """Neutralise a cell of the header that a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_STARTS) else text


def cell(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Neutralise what a spreadsheet would run as a formula; a number in E.164 is none."""
    is_formula = and_(
        func.strpos(_FORMULA_STARTS, func.left(column, 1)) > 0,
        column != "",
        column.op("!~")(_E164),
    )
    return case((is_formula, "'" + column), else_=column)


def instant(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Write an instant as the API does: ISO 8601 in UTC with ``Z``, to the millisecond."""
    return func.to_char(
        func.timezone("UTC", column), literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'""")
    )


def truth(column: SQLColumnExpression[bool]) -> ColumnElement[Any]:
    """Write ``true`` or ``false``."""
    return cast(column, Text)


def row_id(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Write an id as text."""
    return cast(column, Text)
