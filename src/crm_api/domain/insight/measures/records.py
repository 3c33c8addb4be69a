"""Read the records that a figure counts, as a list or as a CSV file."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.measures.figure_request import FigureRequest, compile_records
from crm_api.domain.insight.measures.figures import Number, number_of
from crm_api.domain.insight.measures.registry import Unit
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limit_time
from crm_api.domain.kit.csv_export import PAGE, cell_text, csv_lines, write_csv
from crm_api.domain.kit.paging import Cursors, Page, TimePosition
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, typed_rows


@dataclass(frozen=True, kw_only=True)
class RecordRequest:
    """A request for the records that a figure counts.

    Attributes:
        request: The measure, the breakdown, the period and the filters of the figure.
        key: A value of the breakdown, such as a ZIP. An empty text selects records without a value.
            None selects all records.
        bucket_start: The beginning of the day, week or month to select. None selects the whole
            period.
    """

    request: FigureRequest
    key: str | None = None
    bucket_start: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record that a figure counts.

    Attributes:
        counted: Whether the record counts in the numerator of a rate; None for other figures.
        amount: Cents, seconds, or the credited share of an outcome; None if records are only
            counted.
        part: ``numerator`` or ``denominator`` of a quotient of two measures; None for other
            figures.
    """

    id: UUID
    kind: str
    at: datetime
    counted: bool | None
    amount: Number | None
    key: str | None
    contact_id: UUID | None
    campaign_id: UUID | None
    step: int | None
    outcome_id: UUID | None
    part: str | None


async def list_records(
    session: AsyncSession, wanted: RecordRequest, *, cursor: str | None, limit: int
) -> Page[Record]:
    """Return a page of the records that a figure counts, the oldest first.

    Raises:
        BreakdownError: The measure does not allow the breakdown or the filter.
        InvalidCursorError: The cursor does not belong to this list.
        PeriodError: The period does not end after it begins.
        TooManyRecordsError: A statement took longer than ``LONGEST_SECONDS``. The transaction
            cannot be used any more.
    """
    wanted.request.check()
    # Do not rename the arguments, because existing cursors of clients would become invalid.
    cursors = Cursors(
        "insight rows",
        measure=wanted.request.measure.name,
        question={**vars(wanted.request), "measure": None},
        key=wanted.key if wanted.key != "" else "no key",
        bucket_start=wanted.bucket_start,
    )
    async with limit_time(session, seconds=LONGEST_SECONDS):
        rows = await _fetch(session, wanted, after=cursors.read(cursor), limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda one: (one.at, one.id))


NAMES = text("""
    SELECT c.id, p.first_name, p.last_name
    FROM contact c JOIN contact p ON p.id = coalesce(c.merged_into, c.id)
    WHERE c.id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class PersonName:
    """The name of a contact. For a merged duplicate: the name of its primary contact."""

    id: UUID
    first_name: str | None
    last_name: str | None


async def read_names(session: AsyncSession, records: Sequence[Record]) -> dict[UUID, PersonName]:
    """Return the names of the contacts in these records. The keys are the ids of the contacts."""
    ids = {one.contact_id for one in records if one.contact_id is not None}
    found = await session.execute(NAMES, {"ids": list(ids)})
    return {one.id: one for one in typed_rows(PersonName, found)}


async def _fetch(
    session: AsyncSession, wanted: RecordRequest, *, after: TimePosition | None, limit: int
) -> list[Record]:
    statement, values = records_statement(wanted, after=after, limit=limit)
    rows = typed_rows(Record, await session.execute(text(statement), values))
    return [_shown(row, wanted.request) for row in rows]


def records_statement(
    wanted: RecordRequest, *, after: TimePosition | None, limit: int | None
) -> tuple[str, dict[str, Any]]:
    """Return the SQL that selects the records of a figure, and the values of its parameters.

    Args:
        wanted: The figure, and which of its records are selected.
        after: The instant and id of the last record of the page before; None for the first page.
        limit: The largest number of records; None for all records.
    """
    compiled = compile_records(wanted.request)
    values: dict[str, Any] = {**compiled.values, "limit": limit}
    conditions = []
    if wanted.key is not None:
        conditions.append("x.key IS NOT DISTINCT FROM nullif(CAST(:key AS text), '')")
        values["key"] = wanted.key
    if wanted.bucket_start is not None:
        conditions.append("x.bucket_start = :bucket_start")
        values["bucket_start"] = wanted.bucket_start
    if after is not None:
        conditions.append("(x.at, x.id) > (:after_at, :after_id)")
        values |= {"after_at": after[0], "after_id": after[1]}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"""
        SELECT x.id, x.kind, x.at, x.counted, x.amount, x.key, x.contact_id, x.campaign_id, x.step,
               x.outcome_id, x.part
        FROM ({compiled.relation}) x {where}
        ORDER BY x.at, x.id LIMIT :limit
    """
    return statement, values


def _shown(row: Record, request: FigureRequest) -> Record:
    """Return a row without the values that the figure does not use, and with a rounded amount."""
    return replace(
        row,
        counted=row.counted if request.measure.unit is Unit.RATE else None,
        amount=None if row.amount is None else number_of(Decimal(row.amount)),
        part=None if request.measure.quotient_of is None else row.part,
    )


HEADER = tuple(one.name for one in fields(Record))


def export_records(
    new_uow: UnitOfWorkFactory, wanted: RecordRequest, *, shows_people: bool
) -> AsyncIterator[bytes]:
    """Yield a CSV file with all records that a figure counts, the oldest record first.

    If ``shows_people`` is False, the ids of contacts are left out.
    """

    async def next_page(
        uow: UnitOfWork, after: TimePosition | None
    ) -> tuple[bytes, TimePosition | None]:
        rows = await _fetch(uow.session, wanted, after=after, limit=PAGE)
        if not shows_people:
            rows = [replace(one, contact_id=None) for one in rows]
        is_last = len(rows) < PAGE
        lines = csv_lines([[cell_text(getattr(one, name)) for name in HEADER] for one in rows])
        return lines, None if is_last else (rows[-1].at, rows[-1].id)

    return write_csv(new_uow, header=HEADER, next_page=next_page)
