"""The life of an import of any kind: accepted, claimed by a worker, released, ended."""

import csv
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import orjson
from sqlalchemy import CursorResult, TextClause, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.files.models import OPEN, FileImport, FileImportError, ImportStatus
from crm_api.domain.kit.csv_export import csv_safe
from crm_api.domain.kit.errors import ConflictError, NotFoundError
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

LEASE = timedelta(seconds=60)
"""How long a worker keeps an import after its last chunk; then another may continue it."""
ERROR_COLUMNS = ("line", "column", "value", "reason")
_ERROR_BATCH = 1_000

ImportRow = TypeVar("ImportRow", bound=FileImport)


async def _emit_nothing(_uow: UnitOfWork, _row: FileImport) -> None:
    """Emit no event."""


@dataclass(frozen=True, kw_only=True)
class ImportKind(Generic[ImportRow]):
    """A kind of import: its tables, its job, and its errors.

    Attributes:
        job: The job that works on imports of this kind.
        list_name: The name of its list in the cursors of pages.
        not_found: Return the error for an unknown id.
        has_ended: Return the error for a cancellation that comes too late, by the status.
        emit_progress: Record the state of an import as an event of the transaction.
    """

    table: type[ImportRow]
    error_table: type[FileImportError]
    job: JobName
    list_name: str
    not_found: Callable[[], NotFoundError]
    has_ended: Callable[[str], ConflictError]
    emit_progress: Callable[[UnitOfWork, ImportRow], Awaitable[None]] = _emit_nothing


async def accept(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, values: Mapping[str, object], now: datetime
) -> ImportRow:
    """Store a new import; request its job."""
    statement = (
        insert(kind.table)
        .values(status=ImportStatus.PENDING, created_at=now, updated_at=now, **values)
        .returning(kind.table)
    )
    row = (await uow.session.scalars(statement)).one()
    uow.after_commit(Job(name=kind.job))
    return row


async def get_import(uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID) -> ImportRow:
    """Return an import as the database has it now.

    Raises:
        NotFoundError: The kind's own error: no import has this id.
    """
    row = await uow.session.get(kind.table, import_id, populate_existing=True)
    if row is None:
        raise kind.not_found()
    return row


async def list_imports(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, cursor: str | None, limit: int
) -> Page[ImportRow]:
    """List imports, newest first.

    Raises:
        InvalidCursorError: The cursor is not from this list.
    """
    cursors = Cursors(kind.list_name)
    after = cursors.read(cursor)
    rows = await fetch_page(uow.session, kind, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def fetch_page(
    session: AsyncSession,
    kind: ImportKind[ImportRow],
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[ImportRow]:
    """Return the imports after a position, newest first."""
    table = kind.table
    statement = select(table)
    if after is not None:
        statement = statement.where(tuple_(table.created_at, table.id) < after)
    ordered = statement.order_by(table.created_at.desc(), table.id.desc())
    return list(await session.scalars(ordered.limit(limit)))


async def claim_import(
    session: AsyncSession, kind: ImportKind[ImportRow], *, now: datetime
) -> ImportRow | None:
    """Claim an import that waits or whose worker is lost; None without one.

    The import that was worked on longest ago is first, so that small files pass a large one.
    """
    table = kind.table
    waiting = (
        select(table.id)
        .where(table.status.in_(OPEN), or_(table.lease_until.is_(None), table.lease_until < now))
        .order_by(table.updated_at, table.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(table)
        .where(table.id == waiting)
        .values(
            status=ImportStatus.RUNNING,
            lease_until=now + LEASE,
            started_at=func.coalesce(table.started_at, now),
            updated_at=now,
        )
        .returning(table)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def lock_import(
    session: AsyncSession, kind: ImportKind[ImportRow], *, import_id: UUID
) -> ImportRow | None:
    """Return an import and lock it until the transaction ends; None without one."""
    statement = select(kind.table).where(kind.table.id == import_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def lock_running(
    session: AsyncSession, kind: ImportKind[ImportRow], *, import_id: UUID, rows_processed: int
) -> ImportRow | None:
    """Lock an import that is worked on at this row; None if it has ended or moved on."""
    row = await lock_import(session, kind, import_id=import_id)
    is_ours = row is not None and row.status == ImportStatus.RUNNING
    return row if row is not None and is_ours and row.rows_processed == rows_processed else None


async def update_open(
    session: AsyncSession,
    kind: ImportKind[ImportRow],
    *,
    import_id: UUID,
    values: Mapping[str, object],
) -> bool:
    """Change an open import; False if it has ended or does not exist."""
    statement = (
        update(kind.table)
        .where(kind.table.id == import_id, kind.table.status.in_(OPEN))
        .values(dict(values))
        .execution_options(synchronize_session=False)
    )
    result = await session.execute(statement)
    return bool(cast("CursorResult[Any]", result).rowcount)


async def release(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, now: datetime
) -> None:
    """Release an import, so that any worker can continue; request its job."""
    values = {"lease_until": None, "updated_at": now}
    await update_open(uow.session, kind, import_id=import_id, values=values)
    uow.after_commit(Job(name=kind.job))


async def end_import(
    uow: UnitOfWork,
    kind: ImportKind[ImportRow],
    *,
    import_id: UUID,
    status: ImportStatus,
    now: datetime,
    error: str | None = None,
) -> None:
    """End an open import with a status; do nothing if it has already ended.

    Args:
        error: A sentence for the user.
    """
    values = {
        "status": status,
        "error": error,
        "lease_until": None,
        "finished_at": now,
        "updated_at": now,
    }
    if await update_open(uow.session, kind, import_id=import_id, values=values):
        await kind.emit_progress(uow, await get_import(uow, kind, import_id=import_id))


async def complete(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, rows: int, now: datetime
) -> None:
    """Complete an import, unless another worker has continued it."""
    if await lock_running(uow.session, kind, import_id=import_id, rows_processed=rows):
        status = ImportStatus.COMPLETED
        await end_import(uow, kind, import_id=import_id, status=status, now=now)


async def cancel(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, now: datetime
) -> ImportRow:
    """Stop an import after the present chunk; what was stored stays.

    Raises:
        NotFoundError: The kind's own error: no import has this id.
        ConflictError: The kind's own error: it has completed or failed.
    """
    status = ImportStatus.CANCELLED
    await end_import(uow, kind, import_id=import_id, status=status, now=now)
    row = await get_import(uow, kind, import_id=import_id)
    if row.status != status:
        raise kind.has_ended(row.status)
    return row


def _add_errors(table: type[FileImportError]) -> TextClause:
    own = table.__table__.columns
    owner = table.import_id.property.columns[0].name
    given = [column for column in own if column.name not in {"id", owner}]
    names = ", ".join(f'"{column.name}"' for column in given)
    types = ", ".join(f'"{column.name}" {column.type}' for column in given)
    return text(f"""
        INSERT INTO {table.__tablename__} ({owner}, {names})
        SELECT :import_id, {names}
        FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb)) AS ({types}))
            WITH ORDINALITY AS r
        ORDER BY r.ordinality
    """)


async def add_errors(
    session: AsyncSession,
    kind: ImportKind[ImportRow],
    *,
    import_id: UUID,
    errors: Sequence[Mapping[str, object]],
) -> None:
    """Store refused values and rows, in the order of the file."""
    values = {"import_id": import_id, "rows": orjson.dumps(errors).decode()}
    await session.execute(_add_errors(kind.error_table), values)


async def list_errors(
    session: AsyncSession, kind: ImportKind[ImportRow], *, import_id: UUID, after: int, limit: int
) -> list[FileImportError]:
    """Return errors with ids above ``after``, in the order of the file."""
    error = kind.error_table
    statement = select(error).where(error.import_id == import_id, error.id > after)
    return list(await session.scalars(statement.order_by(error.id).limit(limit)))


async def errors_as_csv(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, after: int
) -> tuple[str, int | None]:
    """Write the next errors as CSV lines.

    Returns:
        The lines, and the id to continue after; None at the end.
    """
    found = await list_errors(
        uow.session, kind, import_id=import_id, after=after, limit=_ERROR_BATCH
    )
    lines = io.StringIO()
    writer = csv.writer(lines)
    for error in found:
        cells = (error.column or "", error.value or "", error.reason)
        writer.writerow([error.line, *map(csv_safe, cells)])
    return lines.getvalue(), found[-1].id if len(found) == _ERROR_BATCH else None
