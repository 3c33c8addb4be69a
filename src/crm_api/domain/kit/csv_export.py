"""Write lists of any length as CSV, page by page, so that the use of memory stays constant.

Each page is read in its own transaction, so rows inserted during the download may appear. After an
error, the connection is closed early, so that the client notices the incomplete file.
"""

import csv
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
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

from crm_api.domain.kit.schemas import format_instant
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

PAGE = 5_000
"""The number of rows that an export reads at once. These rows are called a page."""
PositionT = TypeVar("PositionT")
NextPage = Callable[[UnitOfWork, PositionT | None], Awaitable[tuple[bytes, PositionT | None]]]
"""A function that reads one page of a list.

It takes the position of the row before the page; None for the first page. It returns the rows of
the page as CSV, and the position of the last row. The position is None if no page follows.
"""

FORMULA_STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""The characters with which a formula in a spreadsheet can begin.

The last four are full-width forms, which some spreadsheets treat like the ASCII characters.
"""
E164 = r"^\+[0-9]{7,15}$"
"""Pattern of a phone number. A phone number begins with a plus sign, but it is not a formula."""

_FORMULA_STARTS: ColumnElement[str] = literal_column(
    "E'" + "".join(f"\\u{ord(sign):04x}" for sign in FORMULA_STARTS) + "'"
)


async def write_csv(
    new_uow: UnitOfWorkFactory, *, header: Sequence[str], next_page: NextPage[PositionT]
) -> AsyncIterator[bytes]:
    """Yield a CSV file in parts: the header line, then one part per page."""
    yield csv_lines([map(csv_safe, header)])
    position: PositionT | None = None
    while True:
        async with new_uow() as uow:
            rows, position = await next_page(uow, position)
        if rows:
            yield rows
        if position is None:
            return


def csv_lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Return rows of texts as CSV lines."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().encode()


def cell_text(value: object) -> str:
    """Return the text of a value in a CSV file; None is an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return format_instant(value) if isinstance(value, datetime) else csv_safe(str(value))


async def end_of_page(
    session: AsyncSession, ordered: Select[*tuple[Any, ...]]
) -> tuple[Any, ...] | None:
    """Return the last row of the next page; None if fewer than ``PAGE`` rows are left.

    None also means that no further page follows.

    Args:
        ordered: Selects all rows after the previous page, in order.
    """
    last = (await session.execute(ordered.offset(PAGE - 1).limit(1))).one_or_none()
    return None if last is None else tuple(last)


async def copy_rows(session: AsyncSession, statement: Select[*tuple[Any, ...]]) -> bytes:
    """Run a statement with COPY, and return its rows as CSV lines without a header."""
    connection = await session.connection()
    compiled = statement.compile(dialect=connection.dialect)
    values = [compiled.params[name] for name in compiled.positiontup or ()]
    driver: Any = (await connection.get_raw_connection()).driver_connection
    written = io.BytesIO()

    async def take(rows: bytes) -> None:
        written.write(rows)

    await driver.copy_from_query(str(compiled), *values, output=take, format="csv")
    return written.getvalue()


def csv_safe(value: str) -> str:
    """Put ``'`` before a text that a spreadsheet would run as a formula.

    A phone number in E.164 is returned unchanged, although it begins with a plus sign.
    """
    if value.startswith(tuple(FORMULA_STARTS)) and not re.fullmatch(E164, value):
        return "'" + value
    return value


def cell(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Return SQL for the values of a text column, with ``'`` before each value that is a formula.

    A phone number in E.164 is not changed, although it begins with a plus sign.
    """
    is_formula = and_(
        func.strpos(_FORMULA_STARTS, func.left(column, 1)) > 0,
        column != "",
        column.op("!~")(E164),
    )
    return case((is_formula, "'" + column), else_=column)


def instant(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Return SQL that writes an instant as the API does: in UTC with ``Z``, to the millisecond."""
    return func.to_char(
        func.timezone("UTC", column), literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'""")
    )


def truth(column: SQLColumnExpression[bool]) -> ColumnElement[Any]:
    """Return SQL that writes a boolean column as ``true`` or ``false``."""
    return cast(column, Text)


def row_id(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Return SQL that writes an id as text."""
    return cast(column, Text)
