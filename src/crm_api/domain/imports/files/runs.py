"""Store imports of every kind, reserve them for workers, end them, and read their errors.

To claim an import means to reserve it for one worker. To release it means to end the reservation.
"""

import csv
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import TextClause, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.files.models import OPEN, FileImport, FileImportError, ImportStatus
from crm_api.domain.kit.csv_export import csv_safe
from crm_api.domain.kit.errors import ConflictError, NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.platform.database import UnitOfWork, affected, get_or_raise
from crm_api.platform.jobs import Job, JobName

LEASE = timedelta(seconds=60)
"""How long an import belongs to its worker after the last stored chunk. After this time, another
worker may claim the import."""
ERROR_COLUMNS = ("line", "column", "value", "reason")
_ERROR_BATCH = 1_000

ImportRow = TypeVar("ImportRow", bound=FileImport)


async def _emit_nothing(_uow: UnitOfWork, _row: FileImport) -> None:
    """Do nothing, for kinds of imports that emit no events."""


@dataclass(frozen=True, kw_only=True)
class ImportKind(Generic[ImportRow]):
    """What differs between the kinds of imports: contact imports and do-not-contact uploads.

    Attributes:
        job: The job that runs imports of this kind.
        list_name: The name of the API list. Each page cursor contains the name, so that a cursor of
            another list is refused.
        not_found: The error for an unknown id.
        has_ended: Takes the status of an import that has ended. Returns the error to raise when a
            user tries to cancel this import.
        emit_progress: Stores an event about the progress, in the transaction that stores the
            progress.
    """

    table: type[ImportRow]
    error_table: type[FileImportError]
    job: JobName
    list_name: str
    not_found: type[NotFoundError]
    has_ended: Callable[[str], ConflictError]
    emit_progress: Callable[[UnitOfWork, ImportRow], Awaitable[None]] = _emit_nothing


async def accept(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, values: Mapping[str, object], now: datetime
) -> ImportRow:
    """Store a new import as pending, and request the job ``kind.job``, which runs the import."""
    statement = (
        insert(kind.table)
        .values(status=ImportStatus.PENDING, created_at=now, updated_at=now, **values)
        .returning(kind.table)
    )
    row = (await uow.session.scalars(statement)).one()
    uow.after_commit(Job(name=kind.job))
    return row


async def get_import(uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID) -> ImportRow:
    """Read an import from the database, even if the session has already loaded it.

    Raises:
        NotFoundError: No import has this id. ``kind`` decides which subclass is raised.
    """
    return await get_or_raise(uow.session, kind.table, import_id, kind.not_found)


async def list_imports(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, cursor: str | None, limit: int
) -> Page[ImportRow]:
    """Return one page of the imports of one kind, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    table = kind.table
    return await read_newest(
        uow.session,
        select(table),
        table.created_at,
        table.id,
        cursors=Cursors(kind.list_name),
        cursor=cursor,
        limit=limit,
    )


async def claim_import(
    session: AsyncSession, kind: ImportKind[ImportRow], *, now: datetime
) -> ImportRow | None:
    """Claim an unfinished import for this worker; return None if no import can be claimed.

    An import cannot be claimed while another worker has a lease on it, that is, a reservation for
    a limited time. If several imports can be claimed, the import with the oldest ``updated_at`` is
    claimed.
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
    """Lock an import until the transaction ends and return it; None if no import has this id."""
    statement = select(kind.table).where(kind.table.id == import_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def lock_running(
    session: AsyncSession, kind: ImportKind[ImportRow], *, import_id: UUID, rows_processed: int
) -> ImportRow | None:
    """Lock and return an import, if this worker may continue it.

    Args:
        rows_processed: The number of rows that were processed when this worker last stored a chunk.

    Returns:
        The import. None if the import does not exist, is not running, or was continued by another
        worker (the stored number of rows differs from ``rows_processed``).
    """
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
    """Write columns of a pending or running import.

    Return False if the import has ended or does not exist.
    """
    statement = (
        update(kind.table)
        .where(kind.table.id == import_id, kind.table.status.in_(OPEN))
        .values(dict(values))
        .execution_options(synchronize_session=False)
    )
    result = await session.execute(statement)
    return bool(affected(result))


async def release(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, now: datetime
) -> None:
    """End a worker's reservation of an unfinished import, and request the job that continues it.

    Any worker can then continue the import.
    """
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
    """End a pending or running import with this status; do nothing if it has already ended.

    Args:
        error: Why the import failed, as a sentence for the user.
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
    """Mark an import as completed if it is still running and has processed ``rows`` rows."""
    if await lock_running(uow.session, kind, import_id=import_id, rows_processed=rows):
        status = ImportStatus.COMPLETED
        await end_import(uow, kind, import_id=import_id, status=status, now=now)


async def cancel(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, now: datetime
) -> ImportRow:
    """Cancel an import. The chunks that are already stored are kept.

    Raises:
        NotFoundError: No import has this id. ``kind`` decides which subclass is raised.
        ConflictError: The import has completed or failed; ``kind`` decides the subclass.
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
    """Store errors about values and rows that were not imported, in the given order."""
    values = {"import_id": import_id, "rows": orjson.dumps(errors).decode()}
    await session.execute(_add_errors(kind.error_table), values)


async def list_errors(
    session: AsyncSession, kind: ImportKind[ImportRow], *, import_id: UUID, after: int, limit: int
) -> list[FileImportError]:
    """Return up to ``limit`` errors with ids above ``after``, in the order of the file."""
    error = kind.error_table
    statement = select(error).where(error.import_id == import_id, error.id > after)
    return list(await session.scalars(statement.order_by(error.id).limit(limit)))


async def errors_as_csv(
    uow: UnitOfWork, kind: ImportKind[ImportRow], *, import_id: UUID, after: int
) -> tuple[str, int | None]:
    """Return up to 1,000 errors with ids above ``after`` as CSV lines, in the order of the file.

    Returns:
        The lines, and the value of ``after`` for the next part. This value is None if fewer than
        1,000 errors were found, because then no errors remain.
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
