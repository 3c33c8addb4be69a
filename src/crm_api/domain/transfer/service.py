"""Imports: accepted, worked chunk by chunk, watched, cancelled, given up after a while."""

import contextlib
import csv
import io
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.transfer import clean_up_queries, progress, queries, writing
from crm_api.domain.transfer.errors import ImportFinishedError, ImportNotFoundError
from crm_api.domain.transfer.formats import Detected
from crm_api.domain.transfer.models import (
    ContactImport,
    ContactImportError,
    ImportSourceKind,
    ImportStatus,
)
from crm_api.domain.transfer.schemas import ImportOptions, unknown_list
from crm_api.domain.transfer.source import Chunk
from crm_api.domain.transfer.undoing import KEPT_FOR
from crm_api.domain.transfer.values import csv_safe
from crm_api.domain.transfer.writing import LEASE
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

ERROR_COLUMNS = ("line", "column", "value", "reason")
_ERROR_BATCH = 1_000
_CLEANED_AT_ONCE = 100


def uploads_folder(data_dir: Path) -> Path:
    """Where the rows of imports lie."""
    return data_dir / "imports"


def upload_path(data_dir: Path, import_id: UUID) -> Path:
    """Where the rows of an import lie; those of a commit lie where its dry run has them."""
    return uploads_folder(data_dir) / f"{import_id}.csv"


def rows_path(data_dir: Path, row: ContactImport) -> Path:
    """Where this import reads its rows."""
    return upload_path(data_dir, row.dry_run_id or row.id)


def discard_old_uploads(folder: Path, *, now: datetime) -> None:
    """Delete uploads that are too old to be committed."""
    oldest = (now - KEPT_FOR).timestamp()
    for path in folder.glob("*.csv"):
        with contextlib.suppress(FileNotFoundError):  # another worker was first
            if path.stat().st_mtime < oldest:
                path.unlink()


async def create(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    file_name: str | None,
    byte_size: int,
    rows_sha256: str,
    detected: Detected,
    options: ImportOptions,
    now: datetime,
) -> ContactImport:
    """Accept an uploaded file; asks for ``run_imports``.

    Raises:
        ImportOptionError: ``list_id`` does not exist.
    """
    rows = {
        "id": import_id,
        "file_name": file_name,
        "byte_size": byte_size,
        "rows_sha256": rows_sha256,
        **as_columns(detected),
    }
    return await _accept(uow, rows, options, now=now)


async def create_from_provider(
    uow: UnitOfWork, options: ImportOptions, *, now: datetime
) -> ContactImport:
    """Accept an import of the provider's contacts, which are fetched in the background.

    What their columns mean is told once they are here. Asks for ``run_imports``.

    Raises:
        ImportOptionError: ``list_id`` does not exist.
    """
    rows: dict[str, object] = {
        "id": new_id(),
        "source": ImportSourceKind.OPENPHONE,
        "byte_size": 0,
        "fetched_bytes": 0,
        "mapping": options.mapping or {},
    }
    return await _accept(uow, rows, options, now=now)


async def _accept(
    uow: UnitOfWork, rows: dict[str, object], options: ImportOptions, *, now: datetime
) -> ContactImport:
    list_id = await _list_of(uow, options, now=now)
    row = await queries.insert_import(
        uow.session,
        values={
            **rows,
            "status": ImportStatus.PENDING,
            "on_duplicate": options.on_duplicate,
            "dry_run": options.dry_run,
            "list_id": list_id,
            "list_name": options.list_name,
            "created_at": now,
            "updated_at": now,
        },
    )
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


def as_columns(detected: Detected) -> dict[str, object]:
    """Return the columns of an import that say what its rows are taken for."""
    return {
        "detected_format": detected.format_name,
        "mapping": detected.mapping,
        "columns": [asdict(column) for column in detected.columns],
        "notes": detected.notes,
    }


async def _list_of(uow: UnitOfWork, options: ImportOptions, *, now: datetime) -> UUID | None:
    """Find the list that people are put on; a dry run makes none."""
    list_id = options.list_id
    if list_id is not None and not await queries.hold_list(uow.session, list_id=list_id):
        raise unknown_list()
    if options.list_name is not None and not options.dry_run:
        return await queries.list_named(uow.session, name=options.list_name, now=now)
    return list_id


async def get(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Fetch an import.

    Raises:
        ImportNotFoundError: No import has this id.
    """
    row = await queries.get(uow.session, import_id=import_id)
    if row is None:
        raise ImportNotFoundError("No import has this id.")
    return row


async def needs_rows(uow: UnitOfWork, *, import_id: UUID) -> bool:
    """Tell whether an import's rows may be read again: it is open, or a dry run is to be committed.

    Raises:
        ImportNotFoundError: No import has this id.
    """
    row = await get(uow, import_id=import_id)
    can_be_committed = row.dry_run and row.status == ImportStatus.COMPLETED
    return row.finished_at is None or can_be_committed or row.dry_run_id is not None


async def list_imports(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[ContactImport]:
    """List imports, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("imports")
    after = cursors.read(cursor)
    rows = await queries.list_imports(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def errors_as_csv(uow: UnitOfWork, *, import_id: UUID, after: int) -> tuple[str, int | None]:
    """Write the next errors as lines of CSV.

    Returns:
        The lines, and where to go on; None after the last.
    """
    found = await queries.list_errors(
        uow.session, import_id=import_id, after=after, limit=_ERROR_BATCH
    )
    return _csv_lines(found), found[-1].id if len(found) == _ERROR_BATCH else None


async def cancel(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> ContactImport:
    """Stop an import after the chunk that is being written; what is written stays.

    Raises:
        ImportNotFoundError: No import has this id.
        ImportFinishedError: It has completed or failed.
    """
    await progress.end(uow, import_id=import_id, status=ImportStatus.CANCELLED, now=now)
    row = await get(uow, import_id=import_id)
    if row.status != ImportStatus.CANCELLED:
        raise ImportFinishedError(f"The import has {row.status} already.", import_status=row.status)
    return row


async def claim(uow: UnitOfWork, *, now: datetime) -> ContactImport | None:
    """Take an import to work on; None when none waits."""
    return await queries.claim(uow.session, now=now, lease_until=now + LEASE)


async def keep(uow: UnitOfWork, *, import_id: UUID, rows_total: int | None, now: datetime) -> None:
    """Note how many rows there are, and stay the one who works on it."""
    values: dict[str, object] = {
        "rows_total": rows_total,
        "lease_until": now + LEASE,
        "updated_at": now,
    }
    await queries.set_open(uow.session, import_id=import_id, values=values)


async def postpone(
    uow: UnitOfWork, *, import_id: UUID, until: datetime, why: str, now: datetime
) -> None:
    """Let an import rest until then, and tell why."""
    values: dict[str, object] = {"lease_until": until, "error": why, "updated_at": now}
    await queries.set_open(uow.session, import_id=import_id, values=values)


async def release(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> None:
    """Let any worker go on with it at once; asks for ``run_imports``."""
    values: dict[str, object] = {"lease_until": None, "updated_at": now}
    await queries.set_open(uow.session, import_id=import_id, values=values)
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))


async def apply_chunk(
    uow: UnitOfWork, *, import_id: UUID, chunk: Chunk, now: datetime, secret: bytes
) -> bool:
    """Write a chunk of an import and its checkpoint, all or nothing.

    Returns:
        False when the import has ended, or another worker has gone on with it: then stop.
    """
    return await writing.apply_chunk(uow, import_id=import_id, chunk=chunk, now=now, secret=secret)


async def complete(uow: UnitOfWork, *, import_id: UUID, rows: int, now: datetime) -> None:
    """Mark an import as done, unless somebody else has gone on with it."""
    row = await queries.lock(uow.session, import_id=import_id)
    if row is not None and row.status == ImportStatus.RUNNING and row.rows_processed == rows:
        row.rows_total = rows
        await uow.session.flush()
        await progress.end(uow, import_id=import_id, status=ImportStatus.COMPLETED, now=now)


async def clean_up(uow: UnitOfWork, *, now: datetime) -> int:
    """Give up what old imports keep for being undone or committed; their counts stay.

    Their uploads are deleted by ``run_imports``, which works where the files are.

    Returns:
        How many were given up; call again until there is none.
    """
    return await clean_up_queries.give_up(
        uow.session, ended_before=now - KEPT_FOR, limit=_CLEANED_AT_ONCE, now=now
    )


async def fail(uow: UnitOfWork, *, import_id: UUID, error: str, now: datetime) -> None:
    """Mark an import as failed, with the sentence for the user; what is written stays."""
    await progress.end(uow, import_id=import_id, status=ImportStatus.FAILED, error=error, now=now)


def _csv_lines(errors: list[ContactImportError]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for error in errors:
        cells = (error.column or "", error.value or "", error.reason)
        writer.writerow([error.line, *map(csv_safe, cells)])
    return buffer.getvalue()
